"""Tests of the return of freed memory to the operating system."""

import subprocess
import sys

import pytest

PROGRAM = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from emotion import malloc

def anonymous_memory():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def work(_):
    blocks = [bytearray(1 << 20) for _ in range(20)]
    return len(blocks)

if sys.argv[1] == "shared":
    malloc.use_one_arena()
bytearray(30 << 20)  # after it is freed, glibc keeps smaller blocks
before = anonymous_memory()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(work, range(16)))
malloc.trim()
print(anonymous_memory() - before)
"""


def memory_growth(arenas):
    done = subprocess.run([sys.executable, "-c", PROGRAM, arenas], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_threads_is_returned():
    separate = memory_growth("separate")
    assert memory_growth("shared") < max(5, separate / 4), f"{separate} MB with one arena per thread"
