"""`python -m ptm`: the same as `ptm`. `ptm launch` starts ranks with it outside a checkout."""

from ptm.cli.program import run_program

if __name__ == "__main__":
    run_program()
