"""The arguments of a rank on another host, as one word that no shell and no launcher changes.

The word also holds the working directory: DeepSpeed's launcher would change to it without quotes,
so it is started from `/`, and each rank changes its directory itself.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from ptm.errors import UserError

SAFE_FOLDER = "/"
"""The working directory of DeepSpeed's launcher for other hosts; every host has it."""
_ENCODED = "--words="


def encode_arguments(words: Sequence[str], *, folder: Path) -> str:
    """Encode arguments and the folder to which relative paths refer as a single argument."""
    data = {"folder": str(folder), "words": list(words)}
    return _ENCODED + base64.urlsafe_b64encode(json.dumps(data).encode()).decode()


def decode_arguments(words: Sequence[str]) -> list[str]:
    """Decode arguments encoded by `encode_arguments` and change to their folder; keep others.

    Drops the --local_rank that DeepSpeed adds. Raises UserError if this host lacks the folder.
    """
    found: list[str] = []
    for word in words:
        if word.startswith(_ENCODED):
            try:
                data = json.loads(base64.urlsafe_b64decode(word.removeprefix(_ENCODED)))
                folder, encoded = str(data["folder"]), [str(one) for one in data["words"]]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise UserError(f"{_ENCODED}: not written by ptm launch ({error}).") from error
            try:
                os.chdir(folder)
            except (OSError, ValueError) as error:
                raise UserError(
                    f"{folder}: this host cannot use the folder in which ptm launch was called "
                    f"({error}). Each host needs it at the same path."
                ) from error
            found += encoded
        elif not word.startswith("--local_rank"):
            found.append(word)
    return found
