"""Freed blocks stay in the process or return to the system, as the function says."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ptm import allocator

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")

_FREE_BLOCKS = """
import gc, sys
import psutil, torch
from ptm import allocator
getattr(allocator, sys.argv[1])()
def block():
    return torch.zeros(8 * 2**20, dtype=torch.uint8)
block()  # once a mapped block is freed, glibc keeps blocks of its size by default
blocks = [block() for _ in range(32)]
before = psutil.Process().memory_info().rss
last = blocks.pop()  # is above the others
del blocks
gc.collect()
print((before - psutil.Process().memory_info().rss) // 2**20)
"""


@pytest.mark.parametrize(
    ("function", "returned"),
    [
        (allocator.return_large_allocations, range(240, 256)),
        (allocator.keep_large_allocations, range(-8, 8)),
    ],
)
def test_what_is_returned_of_256_megabytes(function: object, returned: range) -> None:
    name = function.__name__  # type: ignore[attr-defined]
    done = subprocess.run(
        [sys.executable, "-c", _FREE_BLOCKS, name], capture_output=True, text=True, check=True
    )

    assert int(done.stdout) in returned
