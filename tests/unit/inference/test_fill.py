"""`ptm fill` gives the guesses of transformers' fill-mask pipeline on the export."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel, pipeline

from ptm.errors import UserError
from ptm.inference.fill import Filler
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from tests.support.bert_pairs import (
    TINY,
    Pair,
    blocks_of,
    make_pair,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)

TEXTS = [
    "The capital of France is [MASK].",
    "A cow gives [MASK]",
    "[MASK] of hot is [MASK], and [MASK][MASK] of wet is dry.",
    "日本的首都是[MASK]京。",
    "“大”的反义词是“[MASK]”，Big 的反义词是 [MASK] 😀",
    "[MASK]",
]


@pytest.fixture(
    scope="module",
    params=[("wordpiece", True), ("wordpiece", False), ("char", True)],
    ids=["wordpiece-lower", "wordpiece", "char"],
)
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    bundled_vocab: Path,
) -> Pair:
    kind, lowercase = request.param
    blocks = blocks_of(bundled_vocab, TINY, tokenizer=kind, lowercase=lowercase)
    return make_pair(tmp_path_factory.mktemp("fill"), blocks, bundled_texts)


@pytest.fixture(scope="module")
def theirs(pair: Pair) -> Any:
    return pipeline("fill-mask", model=str(pair.folder), device="cpu")


@pytest.mark.parametrize("text", TEXTS)
def test_guesses_equal_the_fill_mask_pipeline(pair: Pair, theirs: Any, text: str) -> None:
    guesses = Filler(open_source(str(pair.folder))).fill(text, count=7)
    found = theirs(text, top_k=7)
    # One mask gives a list of guesses, several masks a list of lists.
    expected = [found] if isinstance(found[0], dict) else found
    assert len(guesses) == text.count("[MASK]")
    ids = pair.tokenizer.vocabulary.ids
    for mine, other in zip(guesses, expected, strict=True):
        assert [ids[guess.token] for guess in mine] == [guess["token"] for guess in other]
        for guess, reference in zip(mine, other, strict=True):
            assert guess.probability == pytest.approx(reference["score"], rel=1e-4)


def test_model_and_export_give_the_same_guesses(pair: Pair) -> None:
    model = pair.folder.with_name("model")
    for text in TEXTS:
        ours = Filler(open_source(str(model))).fill(text, count=3)
        exported = Filler(open_source(str(pair.folder))).fill(text, count=3)
        assert [[g.token for g in mask] for mask in ours] == [
            [g.token for g in mask] for mask in exported
        ]


def test_texts_in_a_batch_are_filled_like_single_texts(pair: Pair) -> None:
    filler = Filler(open_source(str(pair.folder)))
    together = filler.fill_all(TEXTS, count=3)
    for text, masks in zip(TEXTS, together, strict=True):
        alone = filler.fill(text, count=3)
        assert [[g.token for g in mask] for mask in masks] == [
            [g.token for g in mask] for mask in alone
        ]
        for mine, other in zip(masks, alone, strict=True):
            expected = [pytest.approx(g.probability, rel=1e-4) for g in other]
            assert [g.probability for g in mine] == expected


def test_a_model_with_a_pair_head_fills_with_its_mlm_head(pair: Pair, tmp_path: Path) -> None:
    data = {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 64}
    blocks = {**pair.blocks, "objective": {"type": "bert"}, "data": data}
    weights = {**random_weights(plan_of(recipe_of(blocks))), **pair.weights}
    assert set(weights) > set(pair.weights)
    bert = Filler(write_model(tmp_path / "bert", blocks, weights))
    mlm = Filler(open_source(str(pair.folder.with_name("model"))))
    assert bert.fill_all(TEXTS, count=3) == mlm.fill_all(TEXTS, count=3)


def test_a_text_longer_than_the_positions_minus_their_offset_is_rejected(
    pair: Pair, tmp_path: Path
) -> None:
    blocks = {**pair.blocks, "model": {**pair.blocks["model"]}}
    embedding = {**blocks["model"]["embedding"], "position_offset": 2}
    blocks["model"]["embedding"] = embedding
    filler = Filler(write_model(tmp_path / "offset", blocks, pair.weights))
    assert len(filler.fill("红" * 123 + "[MASK]", count=1)) == 1
    with pytest.raises(UserError, match=r"127 tokens including special tokens; .* at most 126"):
        filler.fill("红" * 124 + "[MASK]", count=1)


def test_the_text_without_a_mask_is_named_among_several(pair: Pair) -> None:
    with pytest.raises(UserError, match=r'^"red and blue": the text has no \[MASK\]\. Write \[MA'):
        Filler(open_source(str(pair.folder))).fill_all(["[MASK]", "red and blue"], count=1)


def test_guesses_are_sorted_and_their_probabilities_sum_to_one(pair: Pair) -> None:
    size = pair.tokenizer.vocabulary.size
    (guesses,) = Filler(open_source(str(pair.folder))).fill("a [MASK]", count=size + 10)
    assert len(guesses) == size
    probabilities = [guess.probability for guess in guesses]
    assert probabilities == sorted(probabilities, reverse=True)
    assert math.fsum(probabilities) == pytest.approx(1.0, abs=1e-5)
    assert len({guess.token for guess in guesses}) == size


def test_the_probability_is_the_softmax_at_the_masked_position(pair: Pair) -> None:
    ids = torch.tensor([pair.tokenizer.encode_with_masks("red [MASK] blue")])
    mask = int((ids[0] == pair.tokenizer.vocabulary.special_id("mask")).nonzero())
    with torch.no_grad():
        expected = pair.theirs(ids).logits[0, mask].softmax(dim=-1)
    ((guess,),) = Filler(open_source(str(pair.folder))).fill("red [MASK] blue", count=1)
    best = int(expected.argmax())
    assert guess.token == pair.tokenizer.vocabulary.tokens[best]
    assert guess.probability == pytest.approx(float(expected[best]), rel=1e-5)


def test_a_text_without_a_mask_is_rejected(pair: Pair) -> None:
    with pytest.raises(UserError, match=r"\[MASK\]"):
        Filler(open_source(str(pair.folder))).fill("nothing to guess", count=1)


def test_a_text_longer_than_the_positions_is_rejected(pair: Pair) -> None:
    filler = Filler(open_source(str(pair.folder)))
    assert len(filler.fill("红" * 125 + "[MASK]", count=1)) == 1
    with pytest.raises(UserError, match="128"):
        filler.fill("红" * 126 + "[MASK]", count=1)


def test_a_model_without_a_head_is_rejected_by_the_missing_parameter(
    tmp_path: Path, small_vocab: Path
) -> None:
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).save_pretrained(tmp_path / "theirs")
    shutil.copyfile(small_vocab, tmp_path / "theirs" / "vocab.txt")
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "import")
    with pytest.raises(UserError, match="mlm_transform"):
        Filler(open_source(str(tmp_path / "import")))
