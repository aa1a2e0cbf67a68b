"""`init_from` loads and lists the weights that fit, and rejects incompatible ones."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_model import import_from_huggingface
from ptm.train.warm_start.load import WarmStart, load_warm_start
from tests.support.bert_pairs import (
    Size,
    blocks_of,
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)

SMALL = Size(2, 32, 2)
HEAD = (
    "mlm_bias.bias",
    "mlm_transform.dense.bias",
    "mlm_transform.dense.weight",
    "mlm_transform.norm.bias",
    "mlm_transform.norm.weight",
)


def model_at(
    folder: Path, vocab: Path, *, keep: tuple[str, ...] = ("",), **changes: Any
) -> dict[str, Tensor]:
    """Write a model with random weights to `folder`; return them all.

    `keep`: prefixes of the tensor names that are written.
    """
    blocks = blocks_of(vocab, changes.pop("size", SMALL), **changes)
    weights = random_weights(plan_of(recipe_of(blocks)))
    kept = {name: tensor for name, tensor in weights.items() if name.startswith(keep)}
    write_model(folder, blocks, kept)
    return weights


def start(folder: Path, vocab: Path, **changes: Any) -> WarmStart:
    """The warm start from `folder` of a small model's recipe with `changes`."""
    encoder = changes.pop("encoder", {})
    blocks = blocks_of(vocab, changes.pop("size", SMALL), **changes)
    blocks["model"]["encoder"].update(encoder)
    recipe = recipe_of(blocks)
    tokenizer = recipe.tokenizer.load()
    return load_warm_start(str(folder), plan_of(recipe), tokenizer, recipe.model)


def other_vocabulary(vocab: Path, path: Path, *, same_size: bool) -> Path:
    """Write the tokens of `vocab` in another order, or with one more, to `path`."""
    tokens = vocab.read_text(encoding="utf-8").splitlines()
    tokens = [*tokens[:-2], tokens[-1], tokens[-2]] if same_size else [*tokens, "another"]
    path.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return path


def test_all_tensors_of_the_same_model_are_loaded(tmp_path: Path, small_vocab: Path) -> None:
    weights = model_at(tmp_path / "model", small_vocab)
    found = start(tmp_path / "model", small_vocab)
    assert found.new_names == found.unused_names == ()
    assert found.weights.keys() == weights.keys()
    assert all(torch.equal(found.weights[name], weights[name]) for name in weights)


def test_all_tensors_of_an_export_are_loaded(tmp_path: Path, small_vocab: Path) -> None:
    blocks = blocks_of(small_vocab, SMALL)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    export_to_huggingface(source, tmp_path / "export", weights_format="safetensors")
    found = start(tmp_path / "export", small_vocab)
    assert found.new_names == found.unused_names == ()


def test_the_head_keeps_its_initial_values_if_the_source_is_a_bare_encoder(
    tmp_path: Path, small_vocab: Path
) -> None:
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=128,
    )
    theirs = BertModel(config)
    theirs.save_pretrained(tmp_path / "theirs")
    shutil.copyfile(small_vocab, tmp_path / "theirs" / "vocab.txt")
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "import")
    for folder in ("theirs", "import"):
        found = start(tmp_path / folder, small_vocab)
        assert found.new_names == HEAD
        assert found.unused_names == ()
        queries = found.weights["encoder_01.attention.qkv.weight"][:32]
        assert torch.equal(queries, theirs.encoder.layer[1].attention.self.query.weight)
    assert "mlm_transform.dense.weight" in str(found)
    assert found.provenance()["fresh"] == list(HEAD)


def test_a_deeper_model_loads_the_layers_of_the_source(tmp_path: Path, small_vocab: Path) -> None:
    model_at(tmp_path / "model", small_vocab)
    found = start(tmp_path / "model", small_vocab, size=Size(4, 32, 2))
    assert {name.split(".")[0] for name in found.new_names} == {"encoder_02", "encoder_03"}
    assert found.unused_names == ()


def test_a_shallower_model_does_not_use_the_last_layers_of_the_source(
    tmp_path: Path, small_vocab: Path
) -> None:
    model_at(tmp_path / "model", small_vocab, size=Size(4, 32, 2))
    found = start(tmp_path / "model", small_vocab)
    assert {name.split(".")[0] for name in found.unused_names} == {"encoder_02", "encoder_03"}
    assert found.new_names == ()


def test_an_untied_output_matrix_keeps_its_initial_values_if_the_source_ties_it(
    tmp_path: Path, small_vocab: Path
) -> None:
    model_at(tmp_path / "tied", small_vocab)
    assert start(tmp_path / "tied", small_vocab, tied=False).new_names == ("mlm_unembed.weight",)


def test_tensors_that_the_recipe_does_not_have_are_not_used(
    tmp_path: Path, small_vocab: Path
) -> None:
    model_at(tmp_path / "untied", small_vocab, tied=False)
    found = start(tmp_path / "untied", small_vocab, segment=False)
    assert found.unused_names == ("embedding.segment.weight", "mlm_unembed.weight")


@pytest.mark.parametrize(
    ("encoder", "sizes"),
    [
        ({"hidden_size": 64}, "2 layers of width 32, but this recipe has 2 layers of width 64"),
        ({"feed_forward_size": 96}, "feed_forward_size = 128, but this recipe has 96"),
    ],
    ids=["width", "feed-forward"],
)
def test_a_model_of_another_size_is_rejected_with_both_sizes(
    tmp_path: Path, small_vocab: Path, encoder: dict[str, Any], sizes: str
) -> None:
    model_at(tmp_path / "model", small_vocab)
    with pytest.raises(UserError, match=rf"^init_from: .*{sizes}"):
        start(tmp_path / "model", small_vocab, encoder=encoder)


@pytest.mark.parametrize("same_size", [True, False], ids=["other-order", "other-size"])
def test_another_vocabulary_is_rejected(tmp_path: Path, small_vocab: Path, same_size: bool) -> None:
    model_at(tmp_path / "model", small_vocab)
    vocab = other_vocabulary(small_vocab, tmp_path / "vocab.txt", same_size=same_size)
    with pytest.raises(UserError, match="vocabulary"):
        start(tmp_path / "model", vocab)


@pytest.mark.parametrize(
    "encoder", [{"heads": 4}, {"norm_position": "pre"}], ids=["heads", "norm-position"]
)
def test_weights_trained_for_another_computation_are_rejected(
    tmp_path: Path, small_vocab: Path, encoder: dict[str, Any]
) -> None:
    """Every shape fits, but the weights would be meaningless."""
    model_at(tmp_path / "model", small_vocab)
    with pytest.raises(UserError, match=next(iter(encoder))):
        start(tmp_path / "model", small_vocab, encoder=encoder)


def test_a_source_without_an_encoder_layer_in_common_is_rejected(
    tmp_path: Path, small_vocab: Path
) -> None:
    model_at(tmp_path / "model", small_vocab, keep=("word_embedding", "embedding"))
    with pytest.raises(UserError, match="no encoder layer"):
        start(tmp_path / "model", small_vocab)


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_a_folder_without_a_model_is_rejected(
    tmp_path: Path, small_vocab: Path, there: bool
) -> None:
    if there:
        (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="model"):
        start(tmp_path / "model", small_vocab)
