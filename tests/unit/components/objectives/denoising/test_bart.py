from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptm.components.objectives.bart import Bart
from ptm.components.objectives.noise.poisson_infilling import PoissonInfilling
from ptm.data.documents import Documents
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.text.vocabulary import Vocabularies
from tests.unit.components.objectives.denoising.denoised_rows import DenoisedRows, examples_of

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabularies, Vocabulary
    from tests.conftest import BuildStore


@pytest.fixture(scope="module")
def rows(sentence_store: TokenStore, vocabulary: Vocabulary) -> DenoisedRows:
    return DenoisedRows(sentence_store, vocabulary, Bart(type="bart"))


def test_targets_are_the_texts_of_the_store(rows: DenoisedRows) -> None:
    examples = examples_of(rows.batch(rows.all_rows()))
    given = [example.given[:-1] for example in examples]
    assert given == rows.texts(rows.all_rows())
    tokens = rows.store.tokens(*rows.store.document_ranges)
    assert Counter(token for text in given for token in text) == Counter(tokens.tolist())


def test_a_source_has_only_masks_and_tokens_of_its_text(rows: DenoisedRows) -> None:
    mask, hidden, masks = rows.vocabulary.special_id("mask"), 0, 0
    for example in examples_of(rows.batch(rows.all_rows())):
        kept = Counter(token for token in example.source[1:-1] if token != mask)
        assert not kept - Counter(example.given[:-1])
        hidden += len(example.given) - 1 - kept.total()
        masks += example.source.count(mask)
    assert hidden / rows.store.info.tokens == pytest.approx(0.3, abs=0.01)
    # The mean span is below 3: the last span of a text is cut to the budget, and texts are short.
    assert 2.2 < hidden / masks < 3


def test_a_small_example_has_the_expected_tensors(
    build_store: BuildStore, letters: Path, letter_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "store", "a b\nc\n", vocab=letters, layout="sentences")
    objective = Bart(type="bart", noise=PoissonInfilling(rate=0.3))
    rows = DenoisedRows(store, letter_vocabulary, objective, size=RowSize(6, 5))
    ids, sources = letter_vocabulary.ids, set()
    for epoch in range(40):
        tensors = rows.batch([0], epoch=epoch).tensors
        given = ["a", "b", "c", "[SEP]", "[PAD]"]
        assert tensors["target_ids"].tolist() == [[ids[token] for token in given[:4]] + [0]]
        read = ["[CLS]", "a", "b", "c", "[PAD]"]
        assert tensors["decoder_input_ids"].tolist() == [[ids[token] for token in read]]
        tokens = [letter_vocabulary.tokens[token] for token in tensors["input_ids"][0]]
        assert (tokens[0], tokens[4:]) == ("[CLS]", ["[SEP]", "[PAD]"])
        sources.add(" ".join(tokens[1:4]).replace("[MASK]", "_"))
    # One token is masked, and the sentences are in either order.
    assert sources == {"_ b c", "a _ c", "a b _", "_ a b", "c _ b", "c a _"}


def test_rows_are_filled_with_whole_sentences(rows: DenoisedRows) -> None:
    ends = np.cumsum(rows.examples.lengths)
    sentences = np.cumsum(rows.store.sentence_ranges[1])
    short = rows.store.sentence_ranges[1].max() <= 62
    assert rows.lengths[:, 1].max() == 63
    assert np.isin(ends, sentences).mean() > (0.999 if short else 0.8)


def test_a_corpus_of_single_sentences_is_rejected(
    build_store: BuildStore, letters: Path, letter_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "store", "a b\n\nc d\n", vocab=letters, layout="sentences")
    with pytest.raises(UserError, match=r"is a single sentence.*permute_sentences"):
        DenoisedRows(store, letter_vocabulary, Bart(type="bart"))
    in_order = Bart(type="bart", noise=PoissonInfilling(permute_sentences=False))
    assert len(DenoisedRows(store, letter_vocabulary, in_order).lengths) == 2


def test_held_out_documents_of_one_sentence_are_accepted(
    build_store: BuildStore, letters: Path, letter_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "store", "a b\n\nc d\n", vocab=letters, layout="sentences")
    found = Bart(type="bart").index(
        Documents(store, held_out=True),
        size=RowSize(16, 16),
        vocabularies=Vocabularies.shared(letter_vocabulary),
        seed=7,
    )
    assert found.lengths.tolist() == [2, 2]
