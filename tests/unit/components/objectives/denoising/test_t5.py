from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ptm.components.objectives.noise.geometric_spans import GeometricSpans
from ptm.components.objectives.noise.t5_spans import T5Spans
from ptm.components.objectives.noise.token_spans import TokenSpans
from ptm.components.objectives.t5 import T5
from ptm.data.packing import RowSize
from ptm.errors import UserError
from ptm.text.vocabulary import Vocabulary
from tests.unit.components.objectives.denoising.denoised_rows import SIZE, DenoisedRows, examples_of
from tests.unit.components.objectives.noise.test_spans import restored

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from tests.conftest import BuildStore

KINDS = {
    "paper": T5(type="t5"),
    "seed": T5(type="t5", noise=GeometricSpans(spans="geometric", geometric_p=0.3, max_length=5)),
    "token": T5(type="t5", noise=TokenSpans(spans="token")),
    "joined": T5(type="t5", concatenate=True),
}
every_kind = pytest.mark.parametrize("objective", KINDS.values(), ids=KINDS.keys())


@every_kind
def test_every_text_is_restored_from_source_and_target(
    objective: T5, real_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(real_store, vocabulary, objective, size=RowSize(64, 40))
    examples = examples_of(rows.batch(rows.all_rows()))
    sentinel = int(vocabulary.sentinels[0])
    texts = rows.texts(rows.all_rows())
    for example, text in zip(examples, texts, strict=True):
        assert restored(example.source[1:-1], example.given[:-1], sentinel) == text
    separators = real_store.info.documents - 1 if objective.concatenate else 0
    assert sum(map(len, texts)) == real_store.info.tokens + separators


def test_a_small_example_has_the_expected_tensors(
    build_store: BuildStore, letters: Path, letter_vocabulary: Vocabulary, tmp_path: Path
) -> None:
    store = build_store(tmp_path / "store", "a b c d e f\n", vocab=letters)
    objective = T5(type="t5", noise=T5Spans(rate=0.5, mean_length=3.0))
    rows = DenoisedRows(store, letter_vocabulary, objective, size=RowSize(8, 8))
    tensors = rows.batch([0]).tensors
    ids = letter_vocabulary.ids
    # Three of six tokens are noise, in one span at the end.
    source = ["[CLS]", "a", "b", "c", "<extra_id_0>", "[SEP]", "[PAD]", "[PAD]"]
    given = ["<extra_id_0>", "d", "e", "f", "<extra_id_1>", "[SEP]"]
    assert tensors["input_ids"].tolist() == [[ids[token] for token in source]]
    assert tensors["segment_ids"].tolist() == [[1] * 6 + [0] * 2]
    assert tensors["target_ids"][0, :6].tolist() == [ids[token] for token in given]
    read = ["[CLS]", *given[:-1], "[PAD]", "[PAD]"]
    assert tensors["decoder_input_ids"].tolist() == [[ids[token] for token in read]]
    assert tensors["target_weights"].tolist() == [[1] * 6 + [0] * 2]


def test_chunks_are_as_long_as_both_sides_allow(
    real_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(real_store, vocabulary, T5(type="t5"), size=RowSize(128, 128))
    assert rows.examples.lengths.max() == 140, "119 kept tokens, 7 sentinels, 2 special tokens"
    assert rows.lengths[:, 0].max() == 128
    short = DenoisedRows(real_store, vocabulary, T5(type="t5"), size=RowSize(128, 16))
    # 10 noise tokens in 3 spans: 15 tokens. 11 noise tokens in 4 spans would need 17.
    assert short.lengths[:, 1].max() == 15


def test_joined_rows_are_full(sentence_store: TokenStore, vocabulary: Vocabulary) -> None:
    rows = DenoisedRows(
        sentence_store, vocabulary, KINDS["joined"], size=RowSize(64, 32), packing=False
    )
    filled = (rows.batch(rows.all_rows()).tensors["example_ids"] > 0).sum(axis=1)
    assert np.unique(filled[:-1]).tolist() == [64]


def test_joined_documents_are_separated_by_cls_not_by_the_end_token(
    sentence_store: TokenStore, vocabulary: Vocabulary
) -> None:
    rows = DenoisedRows(sentence_store, vocabulary, T5(type="t5", concatenate=True))
    texts = rows.examples.texts(sentence_store, np.arange(20))
    assert (texts.tokens == vocabulary.special_id("cls")).any()
    assert not (texts.tokens == vocabulary.special_id("sep")).any()


def test_a_vocabulary_without_sentinels_is_rejected() -> None:
    sentence = error_message(0, KINDS["paper"])
    assert sentence.startswith("words.txt: the vocabulary has no sentinels (<extra_id_0>,")


def test_too_few_sentinels_are_rejected_naming_both_numbers() -> None:
    # 567 tokens with 85 noise tokens in 28 spans, and one closing sentinel.
    sentence = error_message(28, KINDS["paper"], RowSize(512, 512))
    assert "has only 28 sentinels" in sentence
    assert "data.sequence_length = 512 need up to 29 with objective.noise.spans = t5" in sentence
    KINDS["paper"].check_vocabulary(words_with(29), RowSize(512, 512))


def test_token_noise_needs_sentinels_for_the_maximum_number_of_spans() -> None:
    # 510 tokens with 76 noise tokens, each possibly a span of its own.
    assert "need up to 77" in error_message(76, KINDS["token"], RowSize(512, 512))
    KINDS["token"].check_vocabulary(words_with(77), RowSize(512, 512))


def test_a_target_length_without_room_is_rejected() -> None:
    # The target of a text of two tokens: two sentinels, one token and the end token.
    KINDS["paper"].check_vocabulary(words_with(9), RowSize(64, 4))
    sentence = error_message(9, KINDS["paper"], RowSize(64, 3))
    assert "data.target_sequence_length = 3 with data.sequence_length = 64 has no room" in sentence


def words_with(sentinels: int) -> Vocabulary:
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a")
    roles = ("pad", "unk", "cls", "sep", "mask")
    specials = dict(zip(roles, tokens, strict=False))
    return Vocabulary(
        (*tokens, *(f"<extra_id_{number}>" for number in range(sentinels))), specials, "words.txt"
    )


def error_message(sentinels: int, objective: T5, size: RowSize = SIZE) -> str:
    with pytest.raises(UserError) as caught:
        objective.check_vocabulary(words_with(sentinels), size)
    return str(caught.value)
