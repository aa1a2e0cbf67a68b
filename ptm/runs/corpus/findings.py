"""What the numbers of a store say is wrong, as sentences for the user."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ptm.counted import counted
from ptm.data.documents import Documents
from ptm.loading.stores import vocabularies_of
from ptm.recipe import DataRecipe
from ptm.runs.corpus.counts import CUTTING_LAYOUTS, shards_of
from ptm.store.format import StoreInfo
from ptm.store.reader import TokenStore

_MOST_UNKNOWN = 0.01
_OTHER_LANGUAGE = 0.1
"""Share of unknown tokens from which a vocabulary may be that of another language."""
_MOST_CUT = 0.05


def unknown_finding(info: StoreInfo, unknown: int | None, *, vocabulary: str) -> Iterator[str]:
    """Yield a sentence if over 1 % of the tokens are unknown.

    `unknown`: the number of unknown tokens. `vocabulary`: the name of the vocabulary's file.
    """
    if unknown is None:
        return
    if unknown == info.tokens:
        yield (
            "100.0 % of the tokens are unknown, so there is nothing to mask or to predict. "
            f"{vocabulary} is no vocabulary of this language; `ptm vocab train` makes one from "
            "this corpus"
        )
    elif unknown > _MOST_UNKNOWN * info.tokens:
        many = unknown > _OTHER_LANGUAGE * info.tokens
        what = "may be the vocabulary of another language" if many else "lacks some characters"
        yield (
            f"{100 * unknown / info.tokens:.1f} % of the tokens are unknown, which teach a model "
            f"nothing. {vocabulary} {what} (`ptm corpus` lists them); `ptm vocab train` makes one "
            "from this corpus"
        )


def document_finding(info: StoreInfo) -> Iterator[str]:
    """Yield a sentence if the whole corpus is one document."""
    # A single paragraph with its questions is what its file says.
    if info.documents > 1 or info.layout in ("questions", "choices"):
        return
    rule = {
        "documents": "each line is a document; check that the file has line ends",
        "sentences": "an empty line ends a document; if each line is a document, set "
        "data.layout: documents",
        "pairs": "each line is a pair",
        "triplets": "each line is a triplet",
        "labelled": "each line is a text",
        "tagged": "an empty line ends a sentence, or each line is one",
    }[info.layout]
    yield (
        f"the corpus is one document of {info.tokens:,} tokens. "
        f"With data.layout: {info.layout} {rule}"
    )


def cut_tokens(recipe: DataRecipe, store: TokenStore) -> int:
    """Count the tokens of a store that the examples of the objective leave out at their ends.

    0 if the objective continues long documents in further examples. Memory is that of the largest
    shard.
    """
    if store.info.layout not in CUTTING_LAYOUTS:
        return 0
    vocabularies = vocabularies_of(recipe, recipe.tokenizer.load())
    kept = 0
    for shard in shards_of(store):
        examples = recipe.objective.index(
            Documents(shard), size=recipe.row_size, vocabularies=vocabularies, seed=0
        )
        kept += int(np.sum(examples.lengths))
    return store.info.tokens - kept


def cut_finding(info: StoreInfo, cut: int, recipe: DataRecipe) -> Iterator[str]:
    """Yield a sentence if over 5 % of the tokens are cut off; `cut`: their number."""
    if cut <= _MOST_CUT * info.tokens:
        return
    size = recipe.row_size
    lengths = f"data.sequence_length = {size.source}"
    if recipe.objective.needs_decoder:
        lengths += f" and data.target_sequence_length = {size.target}"
    yield (
        f"{100 * cut / info.tokens:.1f} % of the tokens are cut off, because texts are longer than "
        f"{lengths} allows. Set a larger value, if the model allows it"
    )


def tag_findings(info: StoreInfo) -> Iterator[str]:
    """Yield sentences on tags that `ptm preprocess` changed and words that it could not read.

    It prints them with the first line itself, which a store does not keep.
    """
    repaired, lost = (info.report.get(key, 0) for key in ("repaired_tags", "words_without_tokens"))
    if repaired:
        yield (
            f"{counted(repaired, 'tag')} broke the rules of objective.scheme and "
            f"{'was' if repaired == 1 else 'were'} repaired by `ptm preprocess`; "
            "the entities stay those that seqeval reads"
        )
    if lost:
        yield f"{counted(lost, 'word has', 'words have')} no token and became the unknown token"


def findings_of(
    store: TokenStore, unknown: int | None, *, recipe: DataRecipe | None
) -> tuple[str, ...]:
    """Return what is wrong with a store, one sentence each; `recipe`: that it was made for."""
    vocabulary = "the vocabulary" if recipe is None else recipe.tokenizer.source
    found = [*document_finding(store.info)]
    found += unknown_finding(store.info, unknown, vocabulary=vocabulary)
    if recipe is not None:
        found += cut_finding(store.info, cut_tokens(recipe, store), recipe)
    return tuple(found)
