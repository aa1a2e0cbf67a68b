from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from pydantic import ValidationError

from ptm.components.objectives.gsg import Gsg
from ptm.data.documents import Documents
from ptm.data.packing import RowSize
from ptm.data.sentence_groups import SentenceGroups
from ptm.errors import UserError
from ptm.text.vocabulary import Vocabularies
from tests.support.made_documents import MadeDocuments
from tests.unit.components.objectives.denoising.denoised_rows import DenoisedRows, examples_of

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary
    from tests.conftest import BuildStore

SELECTIONS = {
    "lead": Gsg(type="gsg", selection="lead"),
    "random": Gsg(type="gsg", selection="random"),
    "principal": Gsg(type="gsg"),
    "sequential": Gsg(type="gsg", sequential=True, unique=True),
}


@pytest.mark.parametrize("objective", SELECTIONS.values(), ids=SELECTIONS.keys())
def test_the_target_is_the_sentences_missing_in_the_source(
    objective: Gsg, sentence_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(sentence_store, vocabulary, objective, size=RowSize(64, 40))
    mask = vocabulary.special_id("mask")
    examples = examples_of(rows.batch(rows.all_rows()))
    for example, text in zip(examples, rows.texts(rows.all_rows()), strict=True):
        gaps = example.source.count(mask)
        kept = [token for token in example.source[1:-1] if token != mask]
        assert gaps >= 1
        assert kept
        assert sorted(kept + example.given[:-1]) == sorted(text)


@pytest.mark.parametrize(
    ("selection", "source", "given"),
    [
        ("lead", "_ c d b d e d", "a b"),
        ("principal", "a b c d _ e d", "b d"),
    ],
)
def test_a_small_example_has_the_expected_tensors(
    build_store: BuildStore,
    letters: Path,
    letter_vocabulary: Vocabulary,
    tmp_path: Path,
    selection: Literal["lead", "principal"],
    source: str,
    given: str,
) -> None:
    text = "a b\nc d\nb d\ne d\n"
    store = build_store(tmp_path / "store", text, vocab=letters, layout="sentences")
    objective = Gsg(type="gsg", selection=selection)
    rows = DenoisedRows(store, letter_vocabulary, objective, size=RowSize(10, 4))
    example = examples_of(rows.batch([0]))[0]
    assert words(example.source, letter_vocabulary) == ["[CLS]", *source.split(), "[SEP]"]
    assert words(example.read, letter_vocabulary) == ["[CLS]", *given.split()]
    assert words(example.given, letter_vocabulary) == [*given.split(), "[SEP]"]


def words(ids: list[int], vocabulary: Vocabulary) -> list[str]:
    return ["_" if (word := vocabulary.tokens[one]) == "[MASK]" else word for one in ids]


def test_a_sentence_mask_of_the_vocabulary_is_used(
    letter_store: TokenStore, letter_vocabulary: Vocabulary
) -> None:
    marked = replace(letter_vocabulary, tokens=(*letter_vocabulary.tokens, "[MASK1]"))
    rows = DenoisedRows(letter_store, marked, Gsg(type="gsg"))
    sources = [token for one in examples_of(rows.batch(rows.all_rows())) for token in one.source]
    assert marked.ids["[MASK1]"] in sources
    assert marked.special_id("mask") not in sources


# Grouping of sentences into examples


def groups_of(
    corpus: list[list[int]], source: int, target: int, *, rate: float = 0.3
) -> SentenceGroups:
    """The groups of documents with sentences of these lengths; text tokens per side as given."""
    index = Gsg(type="gsg", rate=rate).index(
        MadeDocuments(corpus),
        size=RowSize(source + 2, target + 1),
        vocabularies=None,  # type: ignore[arg-type]
        seed=7,
    )
    assert isinstance(index, SentenceGroups)
    return index


def grouped(index: SentenceGroups) -> list[list[int]]:
    return [part.tolist() for part in np.split(index.sentences, index.ends[:-1])]


def test_sentences_are_grouped_until_the_row_is_full() -> None:
    index = groups_of([[4, 4, 4, 4, 4], [5, 6]], 12, 8)
    assert grouped(index) == [[4, 4, 4], [4, 4], [5, 6]]
    assert index.starts.tolist() == [0, 12, 20]
    assert index.lengths.tolist() == [12, 8, 11]
    assert index.left_out == {}


def test_a_group_whose_longest_sentences_do_not_fit_the_target_is_halved() -> None:
    # Two of five sentences are removed: 10 + 9 tokens do not fit a target of 12.
    index = groups_of([[10, 9, 1, 1, 1]], 30, 12)
    assert grouped(index) == [[10, 9], [1, 1, 1]]
    assert index.target.tolist() == [10, 1]


def test_a_sentence_longer_than_half_a_row_is_cut_and_nothing_is_lost() -> None:
    index = groups_of([[25, 3]], 12, 8)
    assert grouped(index) == [[6, 6], [6, 6], [1, 3]]
    assert index.left_out == {}


def test_a_single_last_sentence_takes_one_from_the_previous_group() -> None:
    assert grouped(groups_of([[4, 4, 4, 5]], 12, 8)) == [[4, 4], [4, 5]]


def test_left_out_sentences_are_counted() -> None:
    index = groups_of([[5], [6, 6, 4], [3, 3]], 12, 8)
    assert grouped(index) == [[6, 6], [3, 3]]
    assert index.left_out == {
        "documents of one sentence": 1,
        "tokens in documents of one sentence": 5,
        "last sentences of documents that are alone in a row": 1,
        "tokens in last sentences that are alone in a row": 4,
    }


def test_a_corpus_of_single_sentences_is_rejected() -> None:
    with pytest.raises(UserError, match=r"is a single sentence .* needs sentences to"):
        groups_of([[5], [6]], 12, 8)


def test_a_target_length_without_room_for_a_sentence_is_rejected() -> None:
    with pytest.raises(UserError, match="target_sequence_length = 1 has no room for a sentence"):
        groups_of([[5, 6]], 12, 0)


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.5])
def test_no_group_is_too_long_for_either_side(
    rate: float, sentence_store: TokenStore, vocabulary: Vocabulary
) -> None:
    index = Gsg(type="gsg", rate=rate).index(
        Documents(sentence_store),
        size=RowSize(64, 24),
        vocabularies=Vocabularies.shared(vocabulary),
        seed=7,
    )
    assert isinstance(index, SentenceGroups)
    sides = Gsg(type="gsg").row_lengths(index)
    assert (sides.max(axis=0) <= [64, 24]).all()
    left = sum(count for what, count in index.left_out.items() if what.startswith("tokens"))
    assert index.lengths.sum() + left == sentence_store.info.tokens
    assert np.diff(index.ends, prepend=0).min() >= 2


# Options


@pytest.mark.parametrize("selection", ["lead", "principal"])
def test_duplicates_are_rejected_for_selections_without_randomness(
    selection: Literal["lead", "principal"],
) -> None:
    with pytest.raises(ValidationError, match=f"no effect with selection: {selection}"):
        Gsg(type="gsg", selection=selection, dynamic=False, duplicates=2)
    assert Gsg(type="gsg", selection="random", dynamic=False, duplicates=2).duplicates == 2


@pytest.mark.parametrize("option", ["sequential", "unique"])
def test_options_of_principal_sentences_are_rejected_for_other_selections(option: str) -> None:
    with pytest.raises(ValidationError, match=f"{option} = true needs selection: principal"):
        Gsg.model_validate({"type": "gsg", "selection": "random", option: True})
