from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from segcore.nn.host_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(1 << 26, np.uint8)
before = faults()
for _ in range(5):
    np.ones(1 << 26, np.uint8)
print(faults() - before)
"""


def faults(mode: str) -> int:
    """Return the page faults of five blocks of 64 MB, each freed before the next, after a first one."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library hands out memory in its own way")
def test_freed_memory_is_there_for_the_next_block_without_page_faults() -> None:
    kept = faults("keep")
    assert kept < 20
    assert faults("as it is") > 5 * kept
