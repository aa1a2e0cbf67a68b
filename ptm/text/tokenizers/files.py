"""Tokenizers over one `vocab.txt`, and copies of any tokenizer's files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ptm.text.tokenizers.base import TokenizerConfig
from ptm.text.vocabulary import Vocabulary, read_vocabulary


def copy_files(config: TokenizerConfig, folder: Path) -> None:
    """Copy every file of the tokenizer to `folder` under its own name; the folder is created."""
    folder.mkdir(exist_ok=True)
    for file in config.input_files.values():
        shutil.copyfile(file, folder / Path(file).name)


def block_with_copies(
    block: Mapping[str, Any], folder: Path, *, named: Path | None = None
) -> dict[str, Any]:
    """Point the paths of a `tokenizer` block to the copies that `copy_files` put into `folder`.

    A value that is not the path of a copied file is unchanged. `named` is the path to write instead
    of `folder`, for a folder that will be renamed.
    """

    def copied(value: Any) -> Any:
        there = isinstance(value, str) and value != "" and (folder / Path(value).name).is_file()
        return str((named or folder) / Path(value).name) if there else value

    return {key: value if key == "type" else copied(value) for key, value in block.items()}


class VocabFileTokenizer(TokenizerConfig):
    """A tokenizer over a `vocab.txt`."""

    FILES: ClassVar[tuple[str, ...]] = ("vocab",)

    vocab: str
    """Path of the vocabulary file, with one token per line."""
    lowercase: bool = True
    """Whether text is lowercased before it is tokenised."""

    def read(self) -> Vocabulary:
        vocabulary = Vocabulary(
            tokens=read_vocabulary(self.vocab),
            specials={**self.SPECIALS, **self._named_specials()},
            source=self.vocab,
        )
        vocabulary.require(("unk",))
        return vocabulary

    def text_of(self, token: str) -> str:
        return token

    def huggingface_files(self, vocabulary: Vocabulary) -> dict[str, bytes]:
        lines = "".join(f"{token}\n" for token in vocabulary.tokens)
        return {"vocab.txt": lines.encode("utf-8")}
