"""What is exported as a family gives, in transformers, the logits it gives here; mistakes show."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM

from ptm.errors import UserError
from ptm.interop.hf.contract import Family, families, family_for
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.source import open_source
from ptm.model.build import PlainModel
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import (
    TINY,
    TOLERANCE,
    Rows,
    blocks_of,
    difference,
    examples_of,
    hf_logits,
    hf_logits_alone,
    laid_out,
    packed,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    scaled,
    write_model,
)
from tests.support.family_cases import CASES, FamilyCase

# XLM-RoBERTa is a RoBERTa over SentencePiece; the tensors of both are compared under either.
EXPORTED = {name: case for name, case in CASES.items() if name != "xlm_roberta"}


@dataclass(frozen=True)
class Exported:
    """One model, here and there."""

    case: FamilyCase
    blocks: dict[str, Any]
    weights: dict[str, Tensor]
    ours: PlainModel
    theirs: nn.Module
    folder: Path
    examples: list[Tensor]
    pad: int

    @property
    def padded(self) -> Rows:
        return laid_out([[ids] for ids in self.examples], pad=self.pad)


@pytest.fixture(scope="module", params=EXPORTED.values(), ids=EXPORTED.keys())
def pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    small_vocab: Path,
) -> Exported:
    case: FamilyCase = request.param
    folder = tmp_path_factory.mktemp(case.model_type)
    blocks = case.blocks(case.vocab(small_vocab, folder))
    recipe = recipe_of(blocks)
    plan, tokenizer = plan_of(recipe), recipe.tokenizer.load()
    examples = examples_of(tokenizer, bundled_texts, longest=48)
    weights = scaled(plan, random_weights(plan), packed(examples, columns=128))
    source = write_model(folder / "model", blocks, weights)
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    theirs, info = AutoModelForMaskedLM.from_pretrained(folder / "export", output_loading_info=True)
    assert not any(info.values()), info
    return Exported(
        case=case,
        blocks=blocks,
        weights=weights,
        ours=loaded_model(plan, weights, source="random"),
        theirs=theirs.eval(),
        folder=folder,
        examples=examples,
        pad=tokenizer.vocabulary.special_id("pad"),
    )


def test_it_is_exported_as_its_own_family(pair: Exported) -> None:
    assert pair.theirs.config.model_type == pair.case.model_type
    assert isinstance(pair.theirs, pair.case.model)  # type: ignore[arg-type]


def test_packed_rows_have_the_logits_of_their_examples_alone(pair: Exported) -> None:
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    ours = ptm_logits(pair.ours, packed(pair.examples, columns=128))
    assert difference(ours, theirs) <= TOLERANCE


def test_padded_rows_have_the_same_logits(pair: Exported) -> None:
    rows = pair.padded
    assert (rows.tensors["example_ids"] == 0).any(), "there is padding"
    assert difference(ptm_logits(pair.ours, rows), hf_logits(pair.theirs, rows)) <= TOLERANCE


def test_it_is_read_back_as_it_was(pair: Exported) -> None:
    source = open_source(str(pair.folder / "export"))
    back = source.tensors()
    assert back.keys() == pair.weights.keys()
    for name, tensor in pair.weights.items():
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(back[name][rows], tensor[rows]), name
    assert source.recipe().model == recipe_of(pair.blocks).model


def test_without_our_recipe_it_is_read_back_the_same(pair: Exported, tmp_path: Path) -> None:
    """As anybody's folder, of which the config says everything."""
    copied = tmp_path / "theirs"
    copied.mkdir()
    for path in (pair.folder / "export").iterdir():
        if path.name not in ("recipe.yaml", "README.md"):
            (copied / path.name).write_bytes(path.read_bytes())
    blocks = open_source(str(copied)).recipe().model
    ours = recipe_of(pair.blocks).model
    assert blocks.encoder == ours.encoder
    assert blocks.embedding == ours.embedding


def changed(pair: Exported, block: str, **changes: Any) -> PlainModel:
    """The same weights in a model whose recipe says something else."""
    blocks = copy.deepcopy(pair.blocks)
    blocks["model"][block].update(changes)
    return loaded_model(plan_of(recipe_of(blocks)), pair.weights, source="changed")


def shows(pair: Exported, wrong: PlainModel) -> bool:
    rows = pair.padded
    return difference(ptm_logits(wrong, rows), hf_logits(pair.theirs, rows)) > TOLERANCE


def test_another_activation_shows(pair: Exported) -> None:
    assert shows(pair, changed(pair, "encoder", activation="silu"))


def test_another_epsilon_shows(pair: Exported) -> None:
    assert shows(pair, changed(pair, "encoder", norm_epsilon=1e-6))


def test_another_first_position_shows(pair: Exported) -> None:
    there = pair.blocks["model"]["embedding"].get("position_offset", 0)
    assert shows(pair, changed(pair, "embedding", position_offset=there + 1))
    if there:
        assert shows(pair, changed(pair, "embedding", position_offset=there - 1))


def test_another_number_of_heads_shows(pair: Exported) -> None:
    assert shows(pair, changed(pair, "encoder", heads=TINY.heads * 2))


@pytest.mark.parametrize("name", ["embedding.segment.weight", "embedding.task.weight"])
def test_tables_of_another_order_show(pair: Exported, name: str) -> None:
    if name not in pair.weights:
        assert name.split(".")[1] not in pair.blocks["model"]["embedding"]["of"]
        return
    weights = {**pair.weights, name: pair.weights[name].roll(1, dims=0)}
    assert shows(pair, loaded_model(pair.ours.plan, weights, source="changed"))


def test_a_dropped_bias_shows_wherever_it_is(pair: Exported) -> None:
    biases = [n for n in pair.weights if n.endswith("bias") and "attention.qkv" not in n]
    for name in biases:
        weights = {**pair.weights, name: torch.zeros_like(pair.weights[name])}
        assert shows(pair, loaded_model(pair.ours.plan, weights, source="changed")), name


@pytest.fixture
def by_name() -> dict[str, Family]:
    return {family.name: family for family in families()}


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize(
    ("change", "family"),
    [
        ({}, "bert"),
        ({"segments": 1}, "bert"),
        ({"of": ["word", "position"]}, "distilbert"),
        ({"position_offset": 1}, "roberta"),
        ({"of": ["word", "position"], "position_offset": 1}, "roberta"),
        ({"of": ["word", "position", "segment", "task"]}, "ernie"),
    ],
)
def test_of_the_families_that_fit_the_most_specific_is_taken(
    small_vocab: Path, change: dict[str, Any], family: str
) -> None:
    blocks = blocks_of(small_vocab, TINY)
    blocks["model"]["embedding"].update(change)
    assert family_for(recipe_of(blocks), source="model").name == family


def test_an_epsilon_that_a_distilbert_cannot_say_makes_it_a_bert(small_vocab: Path) -> None:
    blocks = blocks_of(small_vocab, TINY, segment=False, epsilon=1e-5)
    assert family_for(recipe_of(blocks), source="model").name == "bert"


@pytest.mark.parametrize(
    "change",
    [
        {"residual_attention": True},
        {"bias": False},
        {"attention_scale": False},
        {"feed_forward": "gated"},
    ],
)
def test_an_encoder_that_no_config_can_describe_is_refused_by_its_key(
    small_vocab: Path, by_name: dict[str, Family], change: dict[str, Any]
) -> None:
    blocks = blocks_of(small_vocab, TINY)
    blocks["model"]["encoder"].update(change)
    recipe = recipe_of(blocks)
    for name in ("bert", "roberta", "ernie", "distilbert"):
        assert by_name[name].refusal(recipe.model, recipe.objective) is not None
    refused = by_name["bert"].refusal(recipe.model, recipe.objective)
    assert refused is not None
    assert next(iter(change)) in refused


def test_positions_that_begin_elsewhere_than_after_padding_are_refused(
    tmp_path: Path, small_vocab: Path
) -> None:
    """transformers counts them from the padding id, whatever its config says."""
    blocks = blocks_of(small_vocab, TINY)
    blocks["model"]["embedding"].update(position_offset=2)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=r"position_offset = 2.* 1 with"):
        export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    assert not (tmp_path / "export").exists()
