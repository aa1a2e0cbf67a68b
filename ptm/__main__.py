"""`python -m ptm`: the same as `ptm`. `ptm launch` starts ranks with it outside a checkout."""

from ptm.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
