"""The script that DeepSpeed's launcher runs on each rank.

`deepspeed launch/train.py RECIPE [KEY=VALUE ...]`, or `ptm launch RECIPE`, which calls it.
"""

from __future__ import annotations

import sys

from ptm.cli import main
from ptm.launch.command import decode_arguments

if __name__ == "__main__":
    sys.exit(main(["train", *decode_arguments(sys.argv[1:])]))
