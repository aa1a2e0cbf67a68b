"""Run commands of whichever ptm is on PYTHONPATH: the program that `compare_trees` starts.

Reads a JSON list of argument lists from stdin, and prints for each one line with its exit code and
its errors. It is started by its path, so that it imports nothing of the tree that it belongs to.
"""

import contextlib
import io
import json
import sys

from ptm.cli import main

for arguments in json.load(sys.stdin):
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(arguments)
        except Exception as error:
            code, message = 1, f"{type(error).__name__}: {error}"
            errors.write(message)
    print(json.dumps([code, errors.getvalue()]), flush=True)
