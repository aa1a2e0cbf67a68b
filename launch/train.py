"""What DeepSpeed's launcher starts on every rank.

`deepspeed launch/train.py RECIPE [KEY=VALUE ...]`
"""

from __future__ import annotations

import sys

from ptm.cli import main

if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if not word.startswith("--local_rank")]
    sys.exit(main(["train", *arguments]))
