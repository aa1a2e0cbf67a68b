"""Copies of a tokenizer's files beside what was made with it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.text.tokenizers.base import TokenizerConfig


def copy_files(config: TokenizerConfig, folder: Path) -> None:
    """Every file of the tokenizer under its own name in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    for file in config.input_files:
        shutil.copyfile(file, folder / Path(file).name)


def block_with_copies(
    block: Mapping[str, Any], folder: Path, *, named: Path | None = None
) -> dict[str, Any]:
    """A `tokenizer` block whose files are those that `copy_files` put into `folder`.

    Options whose value is not the name of a file there stay as they are. `named`: what the folder
    will be called.
    """

    def copied(value: Any) -> Any:
        there = isinstance(value, str) and value != "" and (folder / Path(value).name).is_file()
        return str((named or folder) / Path(value).name) if there else value

    return {key: value if key == "type" else copied(value) for key, value in block.items()}
