"""`python -m ptm`: the same as `ptm`. `ptm launch` starts ranks with it outside a checkout."""

import sys

from ptm.cli import main
from ptm.launch.command import decode_arguments

if __name__ == "__main__":
    raise SystemExit(main(decode_arguments(sys.argv[1:])))
