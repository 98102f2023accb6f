"""Tests of all readers on corrupted and random files."""

import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from readers import READERS, material

from emotion.errors import EmotionError

EXAMPLES = int(os.environ.get("EMOTION_FUZZ_EXAMPLES", "60"))
MAX_SECONDS = 5  # per input


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory):
    return material(tmp_path_factory.mktemp("material"), trained)


@st.composite
def corrupted(draw, seeds):
    """Draw a valid file in which some bytes are changed, deleted, inserted or repeated."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 6))):
        position = draw(st.integers(0, len(content)))
        operation = draw(st.sampled_from(("change", "insert", "cut", "repeat", "number", "end")))
        inserted = draw(st.binary(min_size=1, max_size=8))
        if operation == "change":
            content[position : position + len(inserted)] = inserted
        elif operation == "insert":
            content[position:position] = inserted
        elif operation == "cut":
            del content[position : position + draw(st.integers(1, 64))]
        elif operation == "repeat":
            content[position:position] = content[max(0, position - 32) : position] * draw(st.integers(1, 20))
        elif operation == "number":
            content[position : position + 4] = draw(
                st.sampled_from((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"1e99", b"-1,\n"))
            )
        else:
            del content[position:]
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_readers_read_a_file_or_raise_an_emotion_error(reader, files):
    tested = READERS[reader]
    seeds, path = tested.seeds(files), files / "inputs" / tested.name
    path.parent.mkdir(exist_ok=True)
    for seed in seeds:  # valid files are read
        path.write_bytes(seed)
        tested.read(path)

    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(corrupted(seeds) | st.binary(max_size=200))
    def read(content):
        path.write_bytes(content)
        start = time.monotonic()
        try:
            tested.read(path)
        except EmotionError as error:
            assert str(error) and "\n" not in str(error)
        assert time.monotonic() - start < MAX_SECONDS

    read()
