"""Prompts begin in the same way as training rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptm.arrays import I64
from ptm.components.objectives.bart import Bart
from ptm.components.objectives.base import Objective, RandomSource
from ptm.components.objectives.gsg import Gsg
from ptm.components.objectives.lm import Lm
from ptm.components.objectives.mlm import Mlm
from ptm.components.objectives.prefixlm import PrefixLm
from ptm.components.objectives.seq2seq import Seq2Seq
from ptm.components.objectives.t5 import T5
from ptm.data.examples import TokenSpans
from ptm.data.placement import Placement
from ptm.text.vocabulary import Vocabularies, Vocabulary

ROLES = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
WORDS = (*ROLES.values(), *(f"<extra_id_{n}>" for n in range(8)), *"abcdefghijkl")
BOTH = Vocabularies.shared(Vocabulary(WORDS, ROLES, "vocab.txt"))
PAD, CLS, SEP = 0, 2, 3


def row_of(objective: Objective, parts: list[list[int]], labels: int | None = None) -> Any:
    """The tensors of one example in a row of its own."""
    lengths = [len(part) for part in parts]
    texts = TokenSpans(
        np.array([token for part in parts for token in part], dtype=np.int64),
        np.array([lengths]),
        None,
        None if labels is None else np.array([labels]),
    )
    one = np.ones(1, dtype=np.int64)
    read = sum(lengths) + 2
    if isinstance(objective, Lm):
        read = sum(lengths) + (labels or 0).bit_count() - 1
    if isinstance(objective, Seq2Seq):
        read = lengths[0] + 2
    placement = Placement(0 * one, 0 * one, one, read * one, 0 * one, 1, 40, 40)
    return objective.collate(
        texts, placement, vocabularies=BOTH, random_source=RandomSource(7, "train")
    ).tensors


def real(tensors: Any, side: str = "") -> list[int]:
    ids: I64 = tensors[f"{side}input_ids"][0]
    return ids[tensors[f"{side}example_ids"][0] > 0].tolist()


@pytest.mark.parametrize(("objective", "labels"), [(Lm(type="lm"), 3)])
def test_a_causal_prompt_begins_like_a_training_document(objective: Objective, labels: int) -> None:
    prompt = objective.prompt([13, 14], BOTH)
    assert prompt is not None
    assert real(row_of(objective, [[13, 14, 15]], labels))[:3] == list(prompt.begin)


def test_with_joined_documents_only_an_empty_prompt_begins_with_the_end_token() -> None:
    objective = Lm(type="lm", concatenate=True)
    for text, begin in (([13], (13,)), ([], (SEP,))):
        prompt = objective.prompt(text, BOTH)
        assert prompt is not None
        assert prompt.begin == begin


def test_a_prefixlm_prompt_is_the_source_in_its_segment() -> None:
    objective = PrefixLm(type="prefixlm")
    tensors, prompt = row_of(objective, [[13, 14], [20, 21]]), objective.prompt([13, 14], BOTH)
    assert prompt is not None
    segments = tensors["segment_ids"][0]
    assert tensors["input_ids"][0][segments == prompt.segment].tolist() == list(prompt.begin)
    assert prompt.next_segment == segments.max()


def test_a_translation_prompt_is_the_source_and_the_first_decoder_token() -> None:
    objective = Seq2Seq(type="seq2seq")
    tensors, prompt = row_of(objective, [[13, 14], [20, 21]]), objective.prompt([13, 14], BOTH)
    assert prompt is not None
    assert real(tensors) == list(prompt.source or ())
    assert real(tensors, "decoder_")[:1] == list(prompt.begin)


@pytest.mark.parametrize("objective", [T5(type="t5"), Bart(type="bart"), Gsg(type="gsg")])
def test_a_noised_text_is_read_as_in_training(objective: Objective) -> None:
    tensors = row_of(objective, [[13, 14, 15], [16, 17, 18, 19]])
    damaged = real(tensors)[1:-1]
    prompt = objective.prompt(damaged, BOTH)
    assert prompt is not None
    assert real(tensors) == list(prompt.source or ())
    assert real(tensors, "decoder_")[:1] == list(prompt.begin)


def test_a_masked_language_model_has_no_prompt() -> None:
    assert Mlm(type="mlm").prompt([13], BOTH) is None
