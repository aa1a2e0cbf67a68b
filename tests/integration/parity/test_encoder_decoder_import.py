"""What transformers saved of a T5, mT5, BART or PEGASUS has the same logits after an import."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MT5Config,
    MT5ForConditionalGeneration,
    PegasusConfig,
    PegasusForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from ptm.embeddings.sinusoidal import SinusoidalPositions
from ptm.errors import UserError
from ptm.interop.config_only import recipe_blocks
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.importing import Imported, import_from_huggingface
from ptm.interop.source import open_source
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import TOLERANCE, difference
from tests.support.two_sided import Sides, hf_logits, plan_of, ptm_logits, random_theirs, sides_of

_SIDES = ("encoder", "decoder")
_T5: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 1,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
}
_BART: dict[str, Any] = {
    "d_model": 32,
    **{f"{side}_layers": 2 for side in _SIDES},
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 64,
}
_IDS = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
_V1_1 = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "d_kv": 12}

Build = Callable[[int], nn.Module]


def t5(**changes: Any) -> Build:
    return lambda size: T5ForConditionalGeneration(T5Config(vocab_size=size, **{**_T5, **changes}))


def untied(model: nn.Module) -> nn.Module:
    """With an output matrix of its own, as checkpoints of T5 1.1 are loaded."""
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))
    return model


def mt5(size: int) -> nn.Module:
    return untied(MT5ForConditionalGeneration(MT5Config(vocab_size=size, **_T5)))


def bart(**changes: Any) -> Build:
    options = {**_BART, **_IDS, **changes}
    return lambda size: BartForConditionalGeneration(BartConfig(vocab_size=size, **options))


def pegasus(**changes: Any) -> Build:
    options = {**_BART, **_IDS, "scale_embedding": True, **changes}
    return lambda size: PegasusForConditionalGeneration(PegasusConfig(vocab_size=size, **options))


MODELS: dict[str, Build] = {
    "t5": t5(),
    "t5-1.1": lambda size: untied(t5(**_V1_1)(size)),
    "t5-silu": t5(feed_forward_proj="gated-silu", layer_norm_epsilon=1e-5),
    "t5-gelu": t5(feed_forward_proj="gelu"),
    "mt5": mt5,
    "bart": bart(),
    "bart-scaled": bart(scale_embedding=True, activation_function="gelu_new"),
    "pegasus": pegasus(),
    "pegasus-relu": pegasus(scale_embedding=False, activation_function="relu"),
}


@pytest.fixture
def words(small_vocab: Path) -> int:
    return len(small_vocab.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def sides(words: int) -> Sides:
    return sides_of(words, examples=4)


def saved(model: nn.Module, folder: Path, vocab: Path) -> Path:
    model.save_pretrained(folder)
    shutil.copyfile(vocab, folder / "vocab.txt")
    return folder


def imported_logits(folder: Path, sides: Sides) -> tuple[Tensor, Imported]:
    out = folder.parent / "imported"
    found = import_from_huggingface(str(folder), out)
    source = open_source(str(out))
    model = loaded_model(plan_of(source.recipe()), source.tensors(), source="imported")
    return ptm_logits(model, sides.packed), found


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, words: int, sides: Sides, name: str
) -> None:
    model = random_theirs(MODELS[name](words), sides)
    logits, found = imported_logits(saved(model, tmp_path / "theirs", small_vocab), sides)
    assert difference(logits, hf_logits(model, sides)) <= TOLERANCE
    assert found.left_out == ()


@pytest.mark.parametrize("name", ["t5-1.1", "bart", "pegasus"])
def test_it_goes_back_to_transformers_unchanged(
    tmp_path: Path, small_vocab: Path, words: int, sides: Sides, name: str
) -> None:
    model = random_theirs(MODELS[name](words), sides)
    imported_logits(saved(model, tmp_path / "theirs", small_vocab), sides)
    source = open_source(str(tmp_path / "imported"))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back = type(model).from_pretrained(tmp_path / "back").state_dict()
    for key, tensor in model.state_dict().items():
        # Positions are computed anew.
        apart = 1e-6 if name == "pegasus" and "embed_positions" in key else 0.0
        assert float((back[key] - tensor).abs().max()) <= apart, key


@pytest.mark.parametrize("name", ["bart", "pegasus"])
def test_a_bare_model_has_an_output_bias_of_zeros(
    tmp_path: Path, small_vocab: Path, words: int, sides: Sides, name: str
) -> None:
    model = random_theirs(MODELS[name](words), sides)
    logits, _ = imported_logits(saved(model.model, tmp_path / "bare", small_vocab), sides)
    expected = hf_logits(model, sides) - model.final_logits_bias
    assert difference(logits, expected) <= TOLERANCE


@pytest.mark.parametrize("order", ["interleaved", "uer"])
def test_a_pegasus_with_positions_of_another_formula_keeps_them(
    tmp_path: Path, small_vocab: Path, words: int, sides: Sides, order: Any
) -> None:
    """Converters write the positions that a model was trained with into the tables."""
    model = random_theirs(pegasus()(words), sides)
    table = SinusoidalPositions(32, order=order)(torch.arange(64))
    for stack in (model.get_encoder(), model.get_decoder()):
        stack.embed_positions.weight.data.copy_(table)
    logits, _ = imported_logits(saved(model, tmp_path / "theirs", small_vocab), sides)
    assert difference(logits, hf_logits(model, sides)) <= TOLERANCE
    assert (
        open_source(str(tmp_path / "imported")).recipe().model.embedding.sinusoidal_order == order
    )


def random_table(weights: dict[str, Tensor]) -> None:
    weights["model.encoder.embed_positions.weight"].normal_()


def another_layer(weights: dict[str, Tensor]) -> None:
    for name in [name for name in weights if ".layers.1." in name]:
        weights[name.replace(".layers.1.", ".layers.2.")] = weights[name].clone()


def other_words_of_a_decoder(weights: dict[str, Tensor]) -> None:
    weights["model.decoder.embed_tokens.weight"] = weights["model.shared.weight"] + 1


def final_norms(weights: dict[str, Tensor]) -> None:
    for kind in ("weight", "bias"):
        weights[f"model.encoder.layer_norm.{kind}"] = torch.ones(32)


def nothing(weights: dict[str, Tensor]) -> None:
    """The config alone is wrong."""


REFUSED: list[tuple[str, dict[str, Any], Callable[[dict[str, Tensor]], None], str]] = [
    ("bart", {"model_type": "mbart"}, final_norms, 'model_type "mbart".*supported: .*bart'),
    ("bart", {"model_type": "marian"}, nothing, 'model_type "marian"'),
    ("bart", {}, final_norms, "end in a norm, as mBART's do"),
    ("bart", {"normalize_before": True}, nothing, "normalize_before = True"),
    ("bart", {"activation_function": "mish"}, nothing, "mish"),
    ("bart", {}, another_layer, "_layers = 2, but the weights have model.*layers.2"),
    ("bart", {}, other_words_of_a_decoder, "differs from model.shared.weight"),
    ("bart", {"vocab_size": 7}, nothing, "vocab_size = 7"),
    ("pegasus", {}, random_table, "is no table of sines and cosines"),
    ("pegasus", {"normalize_before": False}, nothing, "normalize_before = False"),
    ("t5", {"model_type": "umt5"}, nothing, 'model_type "umt5"'),
    ("t5", {"feed_forward_proj": "glu-gelu"}, nothing, 'feed_forward_proj "glu-gelu"'),
    ("t5", {"num_layers": 0}, nothing, "num_layers = 0, but the weights have"),
    ("t5-1.1", {"scale_decoder_outputs": True}, nothing, "lm_head.weight differs from shared"),
]


@pytest.mark.parametrize(("name", "said", "change", "sentence"), REFUSED)
def test_what_is_not_supported_is_refused(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    name: str,
    said: dict[str, Any],
    change: Callable[[dict[str, Tensor]], None],
    sentence: str,
) -> None:
    folder = saved(MODELS[name](words), tmp_path / "theirs", small_vocab)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **said}))
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(UserError, match=sentence):
        import_from_huggingface(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", MODELS)
def test_the_config_alone_gives_the_blocks_of_a_recipe(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    folder = saved(MODELS[name](words), tmp_path / "theirs", small_vocab)
    alone = yaml.safe_load(recipe_blocks(folder / "config.json"))
    found = open_source(str(folder)).recipe_data()
    if name not in ("t5-silu", "t5-gelu"):
        assert alone["objective"] == found["objective"]
    assert alone["model"] == found["model"]
    assert alone["objective"]["type"] == {"bart": "bart", "pegasus": "gsg"}.get(
        name.partition("-")[0], "t5"
    )
