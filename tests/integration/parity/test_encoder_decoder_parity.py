"""An exported T5, BART or PEGASUS has the logits it has here; every mistake would show."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoTokenizer

from ptm.errors import UserError
from ptm.interop.hf.contract import families, family_for
from ptm.interop.source import open_source
from ptm.model.build import PlainModel
from ptm.model.loaded import loaded_model
from ptm.recipe import load_recipe
from tests.support.bert_pairs import TOLERANCE, difference, recipe_of
from tests.support.two_sided import (
    CASES,
    TwoSided,
    changed,
    exported_pair,
    hf_logits_padded,
    ptm_logits,
)

FAMILIES = ("t5", "bart", "pegasus")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, small_vocab: Path) -> dict[str, TwoSided]:
    return {
        name: exported_pair(tmp_path_factory.mktemp(name), case.blocks(small_vocab))
        for name, case in CASES.items()
    }


@pytest.fixture(params=CASES)
def pair(request: pytest.FixtureRequest, pairs: dict[str, TwoSided]) -> TwoSided:
    return pairs[request.param]


def test_a_packed_row_has_the_logits_of_its_examples_alone(pair: TwoSided) -> None:
    theirs = pair.expected
    assert float(theirs.abs().max()) == pytest.approx(5.0, rel=1e-3)
    assert difference(ptm_logits(pair.ours, pair.sides.packed), theirs) <= TOLERANCE


def test_padded_rows_have_the_same_logits(pair: TwoSided) -> None:
    tensors = pair.sides.alone
    assert (tensors["example_ids"] == 0).any()
    theirs = hf_logits_padded(pair.theirs, tensors)
    assert difference(ptm_logits(pair.ours, tensors), theirs) <= TOLERANCE


def without_recipe(folder: Path, out: Path) -> Path:
    """As anybody's folder, of which config and tensors say everything."""
    out.mkdir()
    for path in folder.iterdir():
        if path.name not in ("recipe.yaml", "README.md"):
            (out / path.name).write_bytes(path.read_bytes())
    return out


@pytest.mark.parametrize("with_recipe", [True, False])
def test_it_is_read_back_as_it_was(pair: TwoSided, tmp_path: Path, with_recipe: bool) -> None:
    folder = pair.folder if with_recipe else without_recipe(pair.folder, tmp_path / "theirs")
    source = open_source(str(folder))
    back, blocks = source.tensors(), recipe_of(pair.blocks)
    assert back.keys() == pair.weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in pair.weights.items())
    found = source.recipe()
    assert found.objective.type == blocks.objective.type
    assert found.objective.head == blocks.objective.head
    for part in ("embedding", "encoder", "decoder", "decoder_embedding"):
        assert getattr(found.model, part) == getattr(blocks.model, part), part


def test_the_config_says_what_begins_and_ends_a_target(pair: TwoSided) -> None:
    vocabulary = recipe_of(pair.blocks).tokenizer.load().vocabulary
    config, generation = pair.theirs.config, pair.theirs.generation_config
    for found in (config, generation):
        assert found.decoder_start_token_id == vocabulary.special_id("cls")
        assert found.eos_token_id == vocabulary.special_id("sep")
        assert found.pad_token_id == vocabulary.special_id("pad")
    assert generation.forced_eos_token_id is None
    assert "AutoModelForSeq2SeqLM" in (pair.folder / "README.md").read_text()
    assert len(AutoTokenizer.from_pretrained(pair.folder)) == vocabulary.size


def shows(pair: TwoSided, wrong: PlainModel) -> bool:
    """Whether it is further away than any right one."""
    theirs = pair.expected
    return difference(ptm_logits(wrong, pair.sides.packed), theirs) > 2 * TOLERANCE


OPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("bart", "encoder", {"heads": 4}),
    ("pegasus", "decoder", {"heads": 4}),
    *((name, side, {"activation": "silu"}) for name in CASES for side in ("encoder", "decoder")),
    *((name, side, {"norm_epsilon": 1e-3}) for name in FAMILIES for side in ("encoder", "decoder")),
    ("bart", "encoder", {"attention_scale": False}),
    ("bart", "decoder", {"norm_epsilon": 1e-12}),
    ("bart", "embedding", {"position_offset": 0}),
    ("bart", "embedding", {"position_offset": 1}),
    ("bart", "embedding", {"scaled": True}),
    ("bart", "head", {"scaled": True}),
    ("bart-scaled", "embedding", {"scaled": False}),
    ("pegasus", "embedding", {"scaled": False}),
    ("pegasus", "embedding", {"sinusoidal_order": "interleaved"}),
    ("pegasus", "embedding", {"sinusoidal_order": "uer"}),
    ("t5", "encoder", {"attention_scale": True}),
    ("t5", "decoder", {"attention_scale": True}),
    ("t5", "encoder", {"position_bias": {"buckets": 16, "max_distance": 24}}),
    ("t5", "decoder", {"position_bias": {"buckets": 16, "max_distance": 18}}),
    ("t5", "head", {"scaled": False}),
    ("t5-1.1", "encoder", {"activation": "gelu"}),
    ("t5-1.1", "head", {"scaled": True}),
    ("t5-unscaled", "head", {"scaled": True}),
]


@pytest.mark.parametrize(("name", "block", "changes"), OPTIONS, ids=str)
def test_another_option_shows(
    pairs: dict[str, TwoSided], name: str, block: str, changes: dict[str, Any]
) -> None:
    pair = pairs[name]
    if block == "embedding":
        pair = copy.deepcopy(pair)
        pair.blocks["model"]["target_embedding"] = pair.blocks["model"]["embedding"]
    assert not shows(pair, changed(pair, block))
    assert shows(pair, changed(pair, block, **changes))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_norm_and_bias_and_table_shows(pairs: dict[str, TwoSided], name: str) -> None:
    pair = pairs[name]
    for ours, parameter in pair.ours.named_parameters():
        right = parameter.detach().clone()
        with torch.no_grad():
            if parameter.dim() == 1:
                # A key's bias alone moves all scores of a query alike, and so nothing.
                first, last = {"qkv.bias": (0, 3), "key_value.bias": (1, 2)}.get(
                    ours.split("attention.")[-1], (0, 1)
                )
                part = parameter.chunk(last)[first]
                part.fill_(float(part.mean()))
            elif "position" in ours:
                parameter.copy_(right.roll(1, dims=0))
            else:
                continue
            assert shows(pair, pair.ours), ours
            parameter.copy_(right)


def halves_swapped(tensor: Tensor) -> Tensor:
    return torch.cat(tensor.chunk(2)[::-1])


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *((name, "decoder_01.cross_attention.key_value.weight") for name in FAMILIES),
        ("t5-1.1", "encoder_01.feed_forward.gate_up.weight"),
    ],
)
def test_parts_in_another_order_show(pairs: dict[str, TwoSided], name: str, part: str) -> None:
    pair = pairs[name]
    weights = {**pair.weights, part: halves_swapped(pair.weights[part])}
    assert shows(pair, loaded_model(pair.ours.plan, weights, source="changed"))


def test_examples_that_see_each_other_show(pair: TwoSided) -> None:
    theirs = pair.expected
    for side in ("", "decoder_"):
        tensors = pair.sides.packed
        tensors[f"{side}example_ids"] = (tensors[f"{side}example_ids"] > 0).long()
        assert difference(ptm_logits(pair.ours, tensors), theirs) > 2 * TOLERANCE


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("t5", "encoder", {"rotary": {}}, "model.encoder.rotary"),
    ("t5", "decoder", {"activation": "silu"}, "model.decoder.activation = silu"),
    ("t5", "decoder", {"key_value_heads": 1}, "model.decoder.key_value_heads"),
    ("t5", "head", {"bias": True}, "objective.head.bias"),
    ("t5", "head", {"tied": False}, "objective.head.scaled"),
    ("t5-1.1", "encoder", {"bias": True}, "model.encoder.bias"),
    ("bart", "encoder", {"norm_epsilon": 1e-12}, "model.encoder.norm_epsilon = 1e-12, not 1e-05"),
    ("bart", "encoder", {"residual_attention": True}, "model.encoder.residual_attention"),
    ("bart", "embedding", {"size": 32}, "model.embedding.size = 32"),
    ("bart", "target_embedding", {"positions": 70}, "64 positions"),
    ("bart", "target_embedding", {"shared": False}, "model.target_embedding.shared"),
    ("bart", "head", {"scaled": True}, "objective.head.scaled"),
    ("pegasus", "embedding", {"layer_norm": True}, "model.embedding.layer_norm"),
    ("pegasus", "decoder", {"head_size": 16}, "model.decoder.head_size"),
]


@pytest.mark.parametrize(("name", "block", "changes", "said"), REFUSED, ids=str)
def test_what_a_family_cannot_say_is_refused_by_its_key(
    small_vocab: Path, name: str, block: str, changes: dict[str, Any], said: str
) -> None:
    blocks = CASES[name].blocks(small_vocab)
    blocks["model"]["target_embedding"] = {**blocks["model"]["embedding"]}
    place = blocks["objective"] if block == "head" else blocks["model"]
    place[block] = {**place[block], **changes}
    recipe = recipe_of(blocks)
    with pytest.raises(UserError, match="fits no family"):
        family_for(recipe, source="model")
    (family,) = [f for f in families() if f.name == name.partition("-")[0]]
    assert said in str(family.refusal(recipe.model, recipe.objective))


def test_a_bart_whose_positions_begin_at_0_gets_two_rows_before_them(
    tmp_path: Path, small_vocab: Path
) -> None:
    blocks = CASES["bart"].blocks(small_vocab)
    blocks["model"]["embedding"] = {"of": ["word", "position"], "positions": 64}
    pair = exported_pair(tmp_path, blocks)
    theirs = pair.expected
    assert difference(ptm_logits(pair.ours, pair.sides.packed), theirs) <= TOLERANCE
    assert json.loads((pair.folder / "config.json").read_text())["max_position_embeddings"] == 64
    back = open_source(str(pair.folder))
    embedding = back.recipe().model.embedding
    assert (embedding.positions, embedding.position_offset) == (66, 2)
    assert back.tensors()["embedding.position.weight"].shape[0] == 66


@pytest.mark.parametrize("family", ["t5", "t5-v1.1", "bart", "pegasus"])
def test_every_recipe_of_a_family_has_a_home_in_transformers(family: str) -> None:
    recipes = sorted((Path(__file__).parents[3] / "recipes" / family).glob("*.yaml"))
    assert recipes
    for path in recipes:
        recipe = load_recipe(str(path), [])
        assert family_for(recipe, source=path.name).name == family.partition("-")[0], path.name
