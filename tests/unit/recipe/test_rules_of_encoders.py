"""Rules between recurrent and convolutional encoders and the other blocks of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ptm.errors import UserError
from ptm.recipe import load_recipe
from tests.support.small_runs import PROJECT

FAMILIES = ["rnn", "lstm", "gru", "gated-cnn"]
EVERY = pytest.mark.parametrize("family", FAMILIES)
MLM = ("objective={type: mlm}",)
BOTH = "model.encoder.bidirectional=true"


def error_of(family: str, overrides: Sequence[str]) -> str:
    with pytest.raises(UserError) as error:
        load_recipe(str(PROJECT / "recipes" / family / "tiny.yaml"), list(overrides))
    return str(error.value)


@pytest.mark.parametrize("family", FAMILIES[:-1])
def test_next_tokens_need_a_causal_network_and_masked_tokens_a_bidirectional_one(
    family: str,
) -> None:
    path = str(PROJECT / "recipes" / family / "tiny.yaml")
    assert load_recipe(path, [*MLM, BOTH]).model.encoder.visibility == "full"
    sentence = error_of(family, [BOTH])
    assert '"lm" needs model.encoder.visibility: causal, but the visibility is full' in sentence
    sentence = error_of(family, MLM)
    assert '"mlm" needs model.encoder.visibility: full, but the visibility is causal' in sentence


@pytest.mark.parametrize("kind", ["birnn", "bilstm", "bigru"])
def test_two_streams_are_for_bilm_and_full_visibility(kind: str) -> None:
    chosen = f"model.encoder.type={kind}"
    path = str(PROJECT / "recipes" / "elmo" / "tiny.yaml")
    for objective in ((), MLM, ("objective={type: bert}", "data.layout=sentences")):
        assert load_recipe(path, [chosen, *objective]).model.encoder.visibility == "full"
    sentence = error_of("elmo", [chosen, "objective={type: lm}"])
    assert "the visibility is full, so the encoder sees the tokens to predict" in sentence
    assert f"type = {kind} always reads both directions. Set objective.type: bilm" in sentence


@pytest.mark.parametrize(
    ("family", "overrides", "reason"),
    [
        *((family, (BOTH,), "reads both directions in every layer") for family in FAMILIES[:-1]),
        *((family, (), "reads from left to right only") for family in FAMILIES),
        ("roberta", (), "reads both directions in every layer, so it sees the tokens to predict"),
        ("gpt2", (), "reads from left to right only"),
    ],
)
def test_bilm_needs_separate_directions(
    family: str, overrides: tuple[str, ...], reason: str
) -> None:
    sentence = error_of(family, [*overrides, "objective={type: bilm}"])
    assert '"bilm" needs a separate stream of layers for each direction' in sentence
    assert "(model.encoder.type: bigru or bilstm or birnn)" in sentence
    assert reason in sentence


def test_a_tied_output_of_bilm_needs_the_width_of_one_direction() -> None:
    tied = ("objective.head.tied=true",)
    path = str(PROJECT / "recipes" / "elmo" / "tiny.yaml")
    assert load_recipe(path, tied)
    sentence = error_of("elmo", [*tied, "model.embedding.size=64"])
    assert "objective.head: has tied: true, but the word embedding is 64 wide" in sentence
    assert "Set tied: false or model.embedding.size: 128." in sentence


def test_masked_tokens_are_rejected_with_causal_convolutions() -> None:
    assert "but the visibility is causal" in error_of("gated-cnn", MLM)


@EVERY
def test_flex_attention_is_rejected(family: str) -> None:
    sentence = error_of(family, ["engine.attention=flex"])
    assert "engine.attention: flex is a kernel of self-attention, which an encoder" in sentence


@EVERY
def test_dropout_of_attention_is_rejected(family: str) -> None:
    sentence = error_of(family, ["model.attention_dropout=0.1"])
    assert "has no attention. Remove attention_dropout." in sentence


def test_residual_scaling_needs_residual_branches() -> None:
    sentence = error_of("gru", ["model.init.residual_scaling=true"])
    assert "an encoder of type gru has no residual branches" in sentence
    path = str(PROJECT / "recipes" / "gated-cnn" / "tiny.yaml")
    assert load_recipe(path, ["model.init.residual_scaling=true"]).model.init.residual_scaling
