from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptm.components.objectives.noise.geometric_spans import GeometricSpans
from ptm.components.objectives.noise.t5_spans import PaperSpans
from ptm.components.objectives.noise.token_spans import TokenSpans
from ptm.components.objectives.t5 import T5
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.text.vocabulary import Vocabulary
from tests.unit.components.objectives.denoising.denoised_rows import SIZE, DenoisedRows, examples_of
from tests.unit.components.objectives.noise.test_spans import restored

if TYPE_CHECKING:
    from ptm.store.format import TokenStore
    from tests.conftest import BuildStore

KINDS = {
    "paper": T5(type="t5"),
    "seed": T5(type="t5", noise=GeometricSpans(spans="geometric", geometric_p=0.3, max_length=5)),
    "token": T5(type="t5", noise=TokenSpans(spans="token")),
    "joined": T5(type="t5", full_sentences=True),
}
every_kind = pytest.mark.parametrize("objective", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_every_text_of_the_store_comes_back_from_both_sides(
    objective: T5, real_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(real_store, vocabulary, objective, size=RowSize(64, 40))
    examples = examples_of(rows.batch(rows.all_rows()))
    sentinel = int(vocabulary.sentinels[0])
    texts = rows.texts(rows.all_rows())
    for example, text in zip(examples, texts, strict=True):
        assert restored(example.source[1:-1], example.given[:-1], sentinel) == text
    separators = real_store.info.documents - 1 if objective.full_sentences else 0
    assert sum(map(len, texts)) == real_store.info.tokens + separators


def test_a_hand_example_has_these_tensors(
    build_store: BuildStore, letters: Path, letter_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "store", "a b c d e f\n", vocab=letters)
    objective = T5(type="t5", noise=PaperSpans(rate=0.5, mean_length=3.0))
    rows = DenoisedRows(store, letter_vocabulary, objective, size=RowSize(8, 8))
    tensors = rows.batch([0]).tensors
    ids = letter_vocabulary.ids
    # Three of six tokens are noise, in one span, at the end.
    source = ["[CLS]", "a", "b", "c", "<extra_id_0>", "[SEP]", "[PAD]", "[PAD]"]
    given = ["<extra_id_0>", "d", "e", "f", "<extra_id_1>", "[SEP]"]
    assert tensors["input_ids"].tolist() == [[ids[token] for token in source]]
    assert tensors["segment_ids"].tolist() == [[1] * 6 + [0] * 2]
    assert tensors["target_ids"][0, :6].tolist() == [ids[token] for token in given]
    read = ["[CLS]", *given[:-1], "[PAD]", "[PAD]"]
    assert tensors["decoder_input_ids"].tolist() == [[ids[token] for token in read]]
    assert tensors["target_weights"].tolist() == [[1] * 6 + [0] * 2]


def test_pieces_are_as_long_as_both_sides_allow(
    real_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(real_store, vocabulary, T5(type="t5"), size=RowSize(128, 128))
    assert rows.examples.lengths.max() == 140, "15 % fewer, and 7 sentinels"
    assert rows.lengths[:, 0].max() == 128
    short = DenoisedRows(real_store, vocabulary, T5(type="t5"), size=RowSize(128, 16))
    # 10 of noise in 3 spans; with 11 in 4 it would be 17.
    assert short.lengths[:, 1].max() == 15


def test_full_rows_are_full(sentence_store: TokenStore, vocabulary: Vocabulary) -> None:
    rows = DenoisedRows(
        sentence_store, vocabulary, KINDS["joined"], size=RowSize(64, 32), packing=False
    )
    filled = (rows.batch(rows.all_rows()).tensors["example_ids"] > 0).sum(axis=1)
    assert np.unique(filled[:-1]).tolist() == [64]


def test_joined_documents_are_not_ended_by_what_ends_a_target(
    sentence_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(sentence_store, vocabulary, T5(type="t5", full_sentences=True))
    texts = rows.examples.texts(sentence_store, np.arange(20))
    assert (texts.tokens == vocabulary.special_id("cls")).any()
    assert not (texts.tokens == vocabulary.special_id("sep")).any()


def test_a_vocabulary_without_sentinels_is_refused() -> None:
    sentence = refusal(0, KINDS["paper"])
    assert sentence.startswith("words.txt: the vocabulary has no sentinels (<extra_id_0>,")


def test_too_few_sentinels_are_refused_with_both_numbers() -> None:
    # 567 tokens, 85 of noise in 28 spans, and one sentinel to close.
    sentence = refusal(28, KINDS["paper"], RowSize(512, 512))
    assert "has only 28 sentinels" in sentence
    assert "data.sequence_length = 512 need up to 29 under objective.noise = paper" in sentence
    KINDS["paper"].refuse_unfit(words_with(29), RowSize(512, 512))


def test_spans_of_any_number_need_as_many_sentinels_as_they_could_be() -> None:
    # 510 tokens, 76 of noise, which might stand apart.
    assert "need up to 77" in refusal(76, KINDS["token"], RowSize(512, 512))
    KINDS["token"].refuse_unfit(words_with(77), RowSize(512, 512))


def test_a_target_without_room_is_refused() -> None:
    # Of two tokens: two sentinels, one token, the end.
    KINDS["paper"].refuse_unfit(words_with(9), RowSize(64, 4))
    sentence = refusal(9, KINDS["paper"], RowSize(64, 3))
    assert "data.target_sequence_length = 3 has no room for the noise of a text" in sentence


def words_with(sentinels: int) -> Vocabulary:
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")
    roles = ("pad", "unk", "cls", "sep", "mask")
    specials = dict(zip(roles, tokens, strict=False))
    return Vocabulary(
        (*tokens, *(f"<extra_id_{number}>" for number in range(sentinels))), specials, "words.txt"
    )


def refusal(sentinels: int, objective: T5, size: RowSize = SIZE) -> str:
    with pytest.raises(UserError) as caught:
        objective.refuse_unfit(words_with(sentinels), size)
    return str(caught.value)
