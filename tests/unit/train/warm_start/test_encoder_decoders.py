"""`init_from` with decoders: whole models, encoders alone, and incompatible weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.errors import UserError
from ptm.train.warm_start.load import WarmStart, load_warm_start
from tests.support.bert_pairs import random_weights, recipe_of, write_model
from tests.support.two_sided import CASES, plan_of


def started(folder: Path, blocks: dict[str, Any]) -> WarmStart:
    recipe = recipe_of(blocks)
    tokenizer = recipe.tokenizer.load()
    return load_warm_start(str(folder), plan_of(recipe), tokenizer, recipe.model)


def written(folder: Path, blocks: dict[str, Any]) -> dict[str, torch.Tensor]:
    weights = random_weights(plan_of(recipe_of(blocks)))
    write_model(folder, blocks, weights)
    return weights


@pytest.mark.parametrize("name", ["t5", "bart", "pegasus"])
def test_a_model_starts_from_another_of_its_family(
    tmp_path: Path, small_vocab: Path, name: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    weights = written(tmp_path / "source", blocks)
    found = started(tmp_path / "source", blocks)
    assert (found.new_names, found.unused_names) == ((), ())
    assert found.weights.keys() == weights.keys()
    assert "(encoder layers 0-1; decoder layers 0-2)" in str(found)


def test_a_deeper_decoder_reports_the_layers_that_are_initialised(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = CASES["bart"].blocks(small_vocab)
    written(tmp_path / "source", blocks)
    blocks["model"]["decoder"]["layers"] = 4
    found = str(started(tmp_path / "source", blocks))
    assert "(encoder layers 0-1; decoder layers 0-2, layers 3 initialised)" in found


def encoder_alone(blocks: dict[str, Any]) -> dict[str, Any]:
    """A masked language model with the encoder of `blocks`."""
    found = copy.deepcopy(blocks)
    del found["model"]["decoder"]
    return {**found, "objective": {"type": "mlm"}}


@pytest.mark.parametrize("name", ["t5", "bart", "pegasus"])
def test_an_encoder_starts_from_the_encoder_of_an_encoder_decoder(
    tmp_path: Path, small_vocab: Path, name: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    weights = written(tmp_path / "source", blocks)
    found = started(tmp_path / "source", encoder_alone(blocks))
    assert all(n.startswith("mlm_") for n in found.new_names)
    assert all(n.startswith(("decoder_", "target_embedding.", "lm_")) for n in found.unused_names)
    assert all(torch.equal(weights[n], tensor) for n, tensor in found.weights.items())
    assert found.weights.keys() | set(found.unused_names) == weights.keys()


def test_an_encoder_decoder_starts_from_an_encoder(tmp_path: Path, small_vocab: Path) -> None:
    blocks = CASES["bart"].blocks(small_vocab)
    written(tmp_path / "source", encoder_alone(blocks))
    found = started(tmp_path / "source", blocks)
    assert all(n.startswith(("decoder_", "target_embedding.", "lm_")) for n in found.new_names)
    assert "encoder layers 0-1)" in str(found)


OTHERS: list[tuple[str, str, dict[str, Any], str]] = [
    ("bart", "decoder", {"activation": "relu"}, "model.decoder.activation = gelu"),
    ("bart", "encoder", {"heads": 4}, "model.encoder.heads = 2"),
    ("bart", "target_embedding", {"position_offset": 0}, "target_embedding.position_offset = 2"),
    ("bart", "embedding", {"scaled": True}, "model.embedding.scaled = False"),
    ("pegasus", "embedding", {"sinusoidal_order": "uer"}, "sinusoidal_order = halves"),
    ("t5", "decoder", {"position_bias": {"buckets": 16, "max_distance": 30}}, "position_bias"),
    ("t5", "encoder", {"attention_scale": True}, "model.encoder.attention_scale = False"),
]


@pytest.mark.parametrize(("name", "block", "changes", "expected"), OTHERS)
def test_weights_for_another_computation_are_rejected(
    tmp_path: Path, small_vocab: Path, name: str, block: str, changes: dict[str, Any], expected: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    blocks["model"]["target_embedding"] = dict(blocks["model"]["embedding"])
    written(tmp_path / "source", blocks)
    blocks["model"][block] = {**blocks["model"][block], **changes}
    with pytest.raises(UserError, match=expected):
        started(tmp_path / "source", blocks)
