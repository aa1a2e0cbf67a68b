"""Vocabularies beside a checkpoint of UER-py, and the options that a checkpoint does not record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.recipe.saved_files import TARGET_TOKENIZER
from ptm.recipe.source import RecipeSource
from ptm.text.tokenizers.sentencepiece_file import read_sentencepiece

_ADDED_BY_FAIRSEQ = 2
"""Tokens of fairseq's numbering that are not pieces of the SentencePiece file."""
_OPTIONS = {"objective": ("labels", "pooling")}
"""Keys of other blocks than the tokenizers that an import accepts."""
_TOKENIZERS = ("tokenizer", TARGET_TOKENIZER)
_NAMES = ("vocab.txt", "vocab.json", "*.model")
Options = Mapping[str, Mapping[str, Any]]
"""Block of a recipe to some of its keys."""


def vocabulary_in(folder: Path) -> Path | None:
    """Return the vocabulary file of a folder; None if it has none."""
    return next((found for name in _NAMES for found in folder.glob(name)), None)


def import_options(overrides: Sequence[str]) -> Options:
    """Parse KEY=VALUE overrides of what checkpoints do not record into blocks of a recipe.

    Any key of `tokenizer` and `target_tokenizer` is accepted, and for classifiers objective.labels
    and objective.pooling. Raises UserError for any other override.
    """
    source = RecipeSource({}, "options", {})
    for text in overrides:
        key, equals, _ = text.partition("=")
        block, _, option = key.partition(".")
        known = bool(option) and "." not in option and block in _TOKENIZERS
        if not equals or not (known or option in _OPTIONS.get(block, ())):
            raise UserError(
                f'"{text}": an import accepts only tokenizer.KEY=VALUE, such as '
                "tokenizer.lowercase=false, and for classifiers objective.labels and "
                "objective.pooling. All other settings are read from the checkpoint and its "
                "config."
            )
        source.override(text)
    return source.data


def tokenizer_block(vocab: Path, *, words: int) -> dict[str, Any]:
    """Return the `tokenizer` block of a vocabulary file. `words`: rows of the word embedding."""
    if vocab.suffix == ".model":
        # fairseq's numbering (XLM-R) adds <pad> and <mask> to the pieces of the file.
        more = words - len(read_sentencepiece(str(vocab)).tokens)
        numbering = "fairseq" if more == _ADDED_BY_FAIRSEQ else "file"
        return {"type": "sentencepiece", "model": str(vocab), "ids": numbering}
    if vocab.suffix == ".json":
        return {"type": "bpe", "vocab": str(vocab), "merges": str(vocab.with_name("merges.txt"))}
    return {"type": "wordpiece", "vocab": str(vocab)}


def target_tokenizer_block(folder: Path, options: Options, *, words: int) -> dict[str, Any]:
    """Return the `target_tokenizer` block of a checkpoint with two vocabularies.

    `folder`: of the checkpoint; an export of `ptm` has the vocabulary in its folder
    target_tokenizer. `words`: rows of the decoder's word embedding. Raises UserError if there is no
    such folder and `options` name no vocabulary.
    """
    given = dict(options.get(TARGET_TOKENIZER, {}))
    named = given.get("vocab", given.get("model"))
    vocab = Path(str(named)) if named is not None else vocabulary_in(folder / TARGET_TOKENIZER)
    if vocab is None:
        raise UserError(
            "the decoder has a word embedding of its own. Pass the target vocabulary that the "
            "model was trained with (UER-py's --tgt_vocab_path) as target_tokenizer.vocab=FILE."
        )
    return {**tokenizer_block(vocab, words=words), **given}
