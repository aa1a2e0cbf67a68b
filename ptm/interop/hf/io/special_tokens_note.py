"""Comparing the special tokens around a text: those of a folder's tokenizer and of an export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptm.interop.hf.base import Family
from ptm.interop.hf.io.export import special_tokens_of
from ptm.recipe import ModelRecipe
from ptm.text.tokenizers.pipeline_file import read_pipeline_file
from ptm.text.vocabulary import Vocabulary


def special_tokens_note(folder: Path, family: Family, recipe: ModelRecipe) -> str | None:
    """A sentence if the folder's tokenizer.json adds other special tokens than an export will.

    None if both are the same, or without a tokenizer.json.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    vocabulary = recipe.tokenizer.read()
    ours = special_tokens_of(family, recipe.objective)
    start = ours.start if ours.start is not None and vocabulary.has(ours.start) else None
    expected = tuple(
        (vocabulary.special_id(role),) if role is not None else () for role in (start, ours.end)
    )
    found = read_pipeline_file(str(path)).added_around
    if found == expected:
        return None
    return (
        f"special tokens: the tokenizer adds {_shown(found, vocabulary)} around a text; models of "
        f"family {family.name} are trained and exported with {_shown(expected, vocabulary)}"
    )


def _shown(around: Sequence[tuple[int, ...]], vocabulary: Vocabulary) -> str:
    """The tokens before and after a text, such as `[CLS] … [SEP]`; `none` without tokens."""
    before, after = (" ".join(vocabulary.tokens[index] for index in ids) for ids in around)
    return f"{before} … {after}".strip() if before or after else "none"
