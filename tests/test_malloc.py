"""Memory that threads had is given back."""

import subprocess
import sys

import pytest

PROGRAM = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from emotion import malloc

def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def work(_):
    blocks = [bytearray(1 << 20) for _ in range(20)]
    return len(blocks)

if sys.argv[1] == "shared":
    malloc.use_one_arena()
bytearray(30 << 20)  # once it is freed, glibc keeps blocks that are smaller
before = own()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(16)))
malloc.trim()
print(own() - before)
"""


def grown(how):
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_threads_had_is_given_back():
    kept = grown("apart")
    assert grown("shared") < max(5, kept / 4), f"MB, where each thread has its own heap: {kept}"
