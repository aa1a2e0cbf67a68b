"""The script that DeepSpeed's launcher runs on each rank.

`deepspeed launch/train.py RECIPE [KEY=VALUE ...]`, or `ptm launch RECIPE`, which calls it.
"""

from __future__ import annotations

import sys
from pathlib import Path

# The ptm of this checkout, also if none is installed: the launcher starts ranks in another folder.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ptm.cli.program import run_program

if __name__ == "__main__":
    run_program(["train", *sys.argv[1:]])
