"""`init_from` across objectives and families: heads are added or dropped, the rest is loaded."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.import_model import import_from_uer
from ptm.train.warm_start.load import WarmStart, load_warm_start
from tests.support.bert_pairs import (
    Size,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.uer_models import CONFIGS, write_checkpoint
from tests.support.uer_modules import random_state

SMALL = Size(2, 32, 2)
PAIR_HEAD = {
    "pooler.dense.weight",
    "pooler.dense.bias",
    "pair_classifier.weight",
    "pair_classifier.bias",
}
DATA = {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 16}


def blocks_with(vocab: Path, size: Size = SMALL, **changes: dict[str, Any]) -> dict[str, Any]:
    """A small model's blocks with keys of `objective`, `embedding` or `encoder` changed."""
    blocks = copy.deepcopy(blocks_of(vocab, size))
    blocks["objective"].update(changes.get("objective", {}))
    for part in ("embedding", "encoder"):
        blocks["model"][part].update(changes.get(part, {}))
    return {**blocks, "data": DATA}


def written(folder: Path, blocks: dict[str, Any]) -> dict[str, Tensor]:
    weights = random_weights(plan_of(recipe_of(blocks)))
    write_model(folder, blocks, weights)
    return weights


def started(folder: Path, blocks: dict[str, Any]) -> WarmStart:
    recipe = recipe_of(blocks)
    tokenizer = recipe.tokenizer.load()
    return load_warm_start(str(folder), plan_of(recipe), tokenizer, recipe.model)


def test_a_roberta_starts_from_a_bert_without_its_pair_head(
    tmp_path: Path, small_vocab: Path
) -> None:
    weights = written(tmp_path / "bert", blocks_with(small_vocab, objective={"type": "bert"}))
    found = started(tmp_path / "bert", blocks_with(small_vocab))
    assert set(found.unused_names) == PAIR_HEAD
    assert found.new_names == ()
    assert all(torch.equal(found.weights[name], weights[name]) for name in found.weights)


def test_a_bert_starts_from_a_roberta_with_a_new_pair_head(
    tmp_path: Path, small_vocab: Path
) -> None:
    written(tmp_path / "roberta", blocks_with(small_vocab))
    found = started(tmp_path / "roberta", blocks_with(small_vocab, objective={"type": "bert"}))
    assert set(found.new_names) == PAIR_HEAD
    assert found.unused_names == ()
    assert "pooler.dense.weight" in str(found)


def test_a_prefix_language_model_starts_from_a_bert(tmp_path: Path, small_vocab: Path) -> None:
    weights = written(tmp_path / "bert", blocks_with(small_vocab, objective={"type": "bert"}))
    blocks = blocks_with(small_vocab, encoder={"visibility": "prefix"})
    blocks |= {"objective": {"type": "prefixlm"}, "data": {**DATA, "layout": "pairs"}}
    found = started(tmp_path / "bert", blocks)
    assert found.new_names == ()
    assert {name.split(".")[0] for name in found.unused_names} >= {
        "mlm_transform",
        "pair_classifier",
    }
    assert {*found.weights} | {*found.unused_names} == {*weights}


def test_a_model_starts_from_an_imported_uer_checkpoint(tmp_path: Path, small_vocab: Path) -> None:
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    config = CONFIGS["bert"]
    path = write_checkpoint(tmp_path / "u", config, random_state(config, size), small_vocab)
    import_from_uer(str(path), tmp_path / "bert", config=None, vocab=None)
    encoder = {"hidden_size": 24, "feed_forward_size": 40}
    blocks = blocks_with(small_vocab, encoder=encoder, embedding={"positions": 30})
    found = started(tmp_path / "bert", blocks)
    assert found.new_names == ()
    assert set(found.unused_names) == PAIR_HEAD


@pytest.mark.parametrize(
    ("source_layers", "own_layers", "expected"),
    [
        (2, 2, "encoder layers 0-1)"),
        (2, 4, "encoder layers 0-1, layers 2-3 initialised)"),
        (4, 2, "encoder layers 0-1, source layers 2-3 unused)"),
        (1, 2, "encoder layers 0, layers 1 initialised)"),
    ],
)
def test_the_loaded_layers_are_reported(
    tmp_path: Path, small_vocab: Path, source_layers: int, own_layers: int, expected: str
) -> None:
    written(tmp_path / "source", blocks_with(small_vocab, Size(source_layers, 32, 2)))
    assert expected in str(
        started(tmp_path / "source", blocks_with(small_vocab, Size(own_layers, 32, 2)))
    )


def test_an_albert_loads_the_group_of_another_albert_but_a_bert_does_not(
    tmp_path: Path, small_vocab: Path
) -> None:
    shared = {"shared_groups": 1}
    written(tmp_path / "albert", blocks_with(small_vocab, encoder=shared))
    found = started(tmp_path / "albert", blocks_with(small_vocab, encoder=shared))
    assert found.new_names == ()
    assert "encoder groups 0)" in str(found)
    with pytest.raises(UserError, match="no encoder layer in common"):
        started(tmp_path / "albert", blocks_with(small_vocab))


def test_another_position_offset_is_rejected(tmp_path: Path, small_vocab: Path) -> None:
    """The shapes of the tables are the same."""
    written(tmp_path / "source", blocks_with(small_vocab))
    blocks = blocks_with(small_vocab, embedding={"position_offset": 2})
    with pytest.raises(UserError, match="position_offset = 0, but this recipe has 2"):
        started(tmp_path / "source", blocks)


def test_a_table_of_another_size_is_rejected_with_its_key_and_both_sizes(
    tmp_path: Path, small_vocab: Path
) -> None:
    written(tmp_path / "source", blocks_with(small_vocab))
    blocks = blocks_with(small_vocab, embedding={"segments": 1})
    with pytest.raises(UserError, match=r"model\.embedding\.segments = 2, but this recipe has 1"):
        started(tmp_path / "source", blocks)
