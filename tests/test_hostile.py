"""What strangers bring: bytes that are almost right, files that ask for too much, runs that would do something."""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS, material

from emotion.errors import EmotionError

EXAMPLES = int(os.environ.get("EMOTION_FUZZ_EXAMPLES", "60"))
LONGEST = 5  # seconds for one input


@pytest.fixture(scope="module")
def stuff(trained, tmp_path_factory):
    return material(tmp_path_factory.mktemp("material"), trained)


@st.composite
def damaged(draw, seeds):
    """A good file with some bytes changed, taken out, put in, or said twice; or anything."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content)))
        how = draw(st.sampled_from(("change", "insert", "cut", "repeat", "number", "end")))
        few = draw(st.binary(min_size=1, max_size=8))
        if how == "change":
            content[at : at + len(few)] = few
        elif how == "insert":
            content[at:at] = few
        elif how == "cut":
            del content[at : at + draw(st.integers(1, 64))]
        elif how == "repeat":
            content[at:at] = content[max(0, at - 32) : at] * draw(st.integers(1, 20))
        elif how == "number":
            content[at : at + 4] = draw(
                st.sampled_from((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"1e99", b"-1,\n"))
            )
        else:
            del content[at:]
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_reads_or_says_what_is_wrong(reader, stuff):
    own = READERS[reader]
    seeds, path = own.seeds(stuff), stuff / "given" / own.name
    path.parent.mkdir(exist_ok=True)
    for seed in seeds:  # good files are read
        path.write_bytes(seed)
        own.read(path)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damaged(seeds) | st.binary(max_size=200))
    def read(content):
        path.write_bytes(content)
        began = time.monotonic()
        try:
            own.read(path)
        except EmotionError as error:
            assert str(error) and "\n" not in str(error)
        assert time.monotonic() - began < LONGEST

    read()
