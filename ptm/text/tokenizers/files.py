"""Vocabulary files: tokenizers that are one, and copies of every kind of file."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.vocabulary import Vocabulary, read_vocabulary


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


class VocabFileTokenizer(TokenizerConfig):
    """A tokenizer over a `vocab.txt`."""

    FILES: ClassVar[tuple[str, ...]] = ("vocab",)

    vocab: str
    """Path of the vocabulary file, one token a line."""

    def read(self) -> Vocabulary:
        """The file's tokens, of which one stands for all that are unknown."""
        vocabulary = Vocabulary(
            tokens=read_vocabulary(self.vocab),
            specials={**self.SPECIALS, **self._named_specials()},
            source=self.vocab,
        )
        vocabulary.require(("unk",))
        return vocabulary

    def text_of(self, token: str) -> str:
        """The token."""
        return token

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        """The same file."""
        lines = "".join(f"{token}\n" for token in vocabulary.tokens)
        return {"vocab.txt": lines.encode("utf-8")}
