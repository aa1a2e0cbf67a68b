"""A BERT that transformers saved gives, imported, the logits it gives there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForMaskedLM, BertConfig

from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.importing import import_from_huggingface
from ptm.interop.source import open_source
from ptm.model.build import PlainModel, build_plan
from ptm.model.loaded import loaded_model
from ptm.recipe import Recipe
from ptm.text.tokenizers import Tokenizer
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.bert_pairs import (
    POSITIONS,
    TOLERANCE,
    difference,
    examples_of,
    hf_logits_alone,
    laid_out,
    packed,
    ptm_logits,
    random_huggingface,
)


@pytest.fixture
def tokenizer(small_vocab: Path) -> Tokenizer:
    return WordPiece(type="wordpiece", vocab=str(small_vocab)).load()


@pytest.fixture
def examples(tokenizer: Tokenizer, bundled_texts: list[str]) -> list[Tensor]:
    return examples_of(tokenizer, bundled_texts, longest=48)


def config_of(tokenizer: Tokenizer, **changes: Any) -> BertConfig:
    sizes = {
        "vocab_size": tokenizer.vocabulary.size,
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 512,
        "max_position_embeddings": POSITIONS,
    }
    return BertConfig(**{**sizes, **changes})


def saved(folder: Path, model: nn.Module, vocab: Path, *, bin_format: bool = False) -> Path:
    """What save_pretrained writes, and a vocab.txt."""
    model.save_pretrained(folder)
    shutil.copyfile(vocab, folder / "vocab.txt")
    if bin_format:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return folder


def imported(folder: Path, out: Path) -> tuple[PlainModel, Recipe]:
    """The folder through `ptm import`, as a model."""
    import_from_huggingface(str(folder), out)
    source = open_source(str(out))
    recipe = source.recipe()
    size = recipe.tokenizer.load().vocabulary.size
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    return loaded_model(plan, source.tensors(), source=str(out)), recipe


@pytest.mark.parametrize("bin_format", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_a_saved_model_has_the_same_logits(
    tmp_path: Path,
    small_vocab: Path,
    tokenizer: Tokenizer,
    examples: list[Tensor],
    activation: str,
    bin_format: bool,
) -> None:
    config = config_of(tokenizer, hidden_act=activation)
    theirs = random_huggingface(config, laid_out([[ids] for ids in examples]))
    folder = saved(tmp_path / "theirs", theirs, small_vocab, bin_format=bin_format)
    ours, _ = imported(folder, tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
        {"num_attention_heads": 8, "layer_norm_eps": 1e-5},
        {"type_vocab_size": 1},
        {"type_vocab_size": 4},
        {"max_position_embeddings": 50},
        {"intermediate_size": 96, "hidden_act": "silu"},
    ],
    ids=["mini", "heads-epsilon", "one-segment", "four-segments", "positions", "silu"],
)
def test_a_model_of_other_sizes_has_the_same_logits(
    tmp_path: Path,
    small_vocab: Path,
    tokenizer: Tokenizer,
    examples: list[Tensor],
    changes: dict[str, Any],
) -> None:
    theirs = random_huggingface(
        config_of(tokenizer, **changes), laid_out([[ids] for ids in examples])
    )
    ours, _ = imported(saved(tmp_path / "theirs", theirs, small_vocab), tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


def test_an_untied_model_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer, examples: list[Tensor]
) -> None:
    config = config_of(tokenizer, tie_word_embeddings=False)
    theirs = random_huggingface(config, laid_out([[ids] for ids in examples]))
    folder = saved(tmp_path / "theirs", theirs, small_vocab)
    # transformers adds `decoder.bias`; where nothing is tied, `bias` beside it is never read.
    weights = load_file(folder / "model.safetensors")
    assert not torch.equal(weights["cls.predictions.bias"], weights["cls.predictions.decoder.bias"])
    ours, _ = imported(folder, tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


def test_an_untied_model_whose_two_biases_are_one_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer, examples: list[Tensor]
) -> None:
    """As versions of transformers before 5 saved them."""
    config = config_of(tokenizer, tie_word_embeddings=False)
    theirs = random_huggingface(config, laid_out([[ids] for ids in examples]))
    theirs.cls.predictions.decoder.bias.data.copy_(theirs.cls.predictions.bias)
    ours, recipe = imported(saved(tmp_path / "theirs", theirs, small_vocab), tmp_path / "out")
    assert not recipe.objective.head.tied
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


def old_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As checkpoints converted from TensorFlow have them."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in weights.items()
    }


def with_both_copies(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Older files hold the shared tensors twice, and the buffer of positions."""
    return {
        **weights,
        "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": weights["cls.predictions.bias"].clone(),
        "bert.embeddings.position_ids": torch.arange(POSITIONS)[None],
    }


def decoder_bias_alone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of two names of one tensor a file may keep either."""
    bias = weights["cls.predictions.bias"]
    rest = {name: tensor for name, tensor in weights.items() if name != "cls.predictions.bias"}
    return {**rest, "cls.predictions.decoder.bias": bias}


@pytest.mark.parametrize("change", [old_names, with_both_copies, decoder_bias_alone])
def test_other_ways_of_naming_the_same_tensors_have_the_same_logits(
    tmp_path: Path,
    small_vocab: Path,
    tokenizer: Tokenizer,
    examples: list[Tensor],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    theirs = random_huggingface(config_of(tokenizer), laid_out([[ids] for ids in examples]))
    folder = saved(tmp_path / "theirs", theirs, small_vocab)
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    ours, _ = imported(folder, tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


@pytest.mark.parametrize("bin_format", [False, True], ids=["safetensors", "bin"])
def test_a_sharded_model_has_the_same_logits(
    tmp_path: Path,
    small_vocab: Path,
    tokenizer: Tokenizer,
    examples: list[Tensor],
    bin_format: bool,
) -> None:
    theirs = random_huggingface(config_of(tokenizer), laid_out([[ids] for ids in examples]))
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder, max_shard_size="200KB")
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 2
    if bin_format:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        for shard in shards:
            torch.save(load_file(shard), shard.with_name(f"pytorch_{shard.stem}.bin"))
            shard.unlink()
        index["weight_map"] = {
            name: f"pytorch_{Path(file).stem}.bin" for name, file in index["weight_map"].items()
        }
        (folder / "model.safetensors.index.json").unlink()
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    ours, _ = imported(folder, tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE


def test_weights_in_half_precision_are_read_as_they_are(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer, examples: list[Tensor]
) -> None:
    rows = laid_out([[ids] for ids in examples])
    theirs = random_huggingface(config_of(tokenizer), rows).to(torch.bfloat16)
    ours, _ = imported(saved(tmp_path / "theirs", theirs, small_vocab), tmp_path / "out")
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs.float(), examples)) <= TOLERANCE


def test_the_folder_itself_is_a_source_without_being_imported(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer, examples: list[Tensor]
) -> None:
    theirs = random_huggingface(config_of(tokenizer), laid_out([[ids] for ids in examples]))
    folder = saved(tmp_path / "theirs", theirs, small_vocab)
    imported(folder, tmp_path / "out")
    direct, through = open_source(str(folder)), open_source(str(tmp_path / "out"))
    assert direct.recipe().model == through.recipe().model
    weights = through.tensors()
    assert direct.tensors().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in direct.tensors().items())


def test_an_import_says_what_the_config_said(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer
) -> None:
    config = config_of(
        tokenizer, hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.05, layer_norm_eps=1e-6
    )
    rows = laid_out([[torch.tensor([2, 7, 3])]])
    folder = saved(tmp_path / "theirs", random_huggingface(config, rows), small_vocab)
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    _, recipe = imported(folder, tmp_path / "out")
    encoder = recipe.model.encoder
    assert recipe.model.dropout == 0.25
    assert recipe.model.attention_dropout == 0.05
    assert encoder.epsilon == 1e-6
    assert encoder.hidden_size == 128
    assert recipe.model.embedding.positions == POSITIONS
    assert not recipe.tokenizer.lowercase


def test_an_import_goes_back_to_transformers_unchanged(
    tmp_path: Path, small_vocab: Path, tokenizer: Tokenizer
) -> None:
    rows = laid_out([[torch.tensor([2, 7, 3])]])
    theirs = random_huggingface(config_of(tokenizer), rows)
    imported(saved(tmp_path / "theirs", theirs, small_vocab), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back = AutoModelForMaskedLM.from_pretrained(tmp_path / "back").state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(back[name], tensor), name
