"""Imports of unsupported models fail with one sentence that names the key or tensor."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import RobertaForMaskedLM

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from tests.integration.parity.cases import IMPORTS, albert, bert, causal
from tests.integration.parity.cases.models import Family
from tests.integration.parity.conftest import BuildSaved

CASES = {str(case): case for case in IMPORTS}
ABSENT = "absent"
"""The value of a key that is removed from the config."""
Tensors = dict[str, Tensor]


def random_positions(weights: Tensors) -> None:
    weights["model.encoder.embed_positions.weight"].normal_()


def another_layer(weights: Tensors) -> None:
    for name in [name for name in weights if ".layers.1." in name]:
        weights[name.replace(".layers.1.", ".layers.2.")] = weights[name].clone()


def other_words_of_the_decoder(weights: Tensors) -> None:
    weights["model.decoder.embed_tokens.weight"] = weights["model.shared.weight"] + 1


def final_norms(weights: Tensors) -> None:
    for kind in ("weight", "bias"):
        weights[f"model.encoder.layer_norm.{kind}"] = torch.ones(32)


UNSUPPORTED: list[tuple[str, dict[str, Any], str]] = [
    ("ernie", {"use_task_id": False}, "task_type_embeddings"),
    ("ernie", {"type_vocab_size": 2}, "type_vocab_size = 2"),
    ("ernie", {"task_type_vocab_size": 5}, "task_type_vocab_size = 5"),
    ("roberta", {"num_hidden_layers": 1}, "number of layers is 1"),
    ("roberta", {"hidden_act": "relu"}, "hidden_act"),
    ("roberta", {"pad_token_id": 0}, "padding token of id 0"),
    ("roberta", {"vocab_size": 7}, "vocab_size = 7"),
    ("distilbert", {"n_layers": 1}, "number of layers is 1"),
    ("distilbert", {"dim": ABSENT}, "dim"),
    ("albert", {"inner_group_num": 2}, "inner_group_num = 2"),
    ("albert", {"num_hidden_groups": 1}, "num_hidden_groups = 1"),
    ("albert", {"hidden_act": "mish"}, "mish"),
    ("albert", {"embedding_size": albert.WIDTH}, "identity"),
    ("modernbert", {"norm_bias": True}, "all true or all false"),
    ("modernbert", {"classifier_activation": "relu"}, "classifier_activation"),
    ("modernbert", {"hidden_activation": "mish", "classifier_activation": "mish"}, "mish"),
    ("modernbert", {"layer_types": ["sliding_attention"] * 5}, "layer_types"),
    ("modernbert", {"num_hidden_layers": 4}, "layer_types"),
    ("modernbert", {"num_hidden_layers": 4, "layer_types": ABSENT}, "num_hidden_layers = 4"),
    ("modernbert", {"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "scaled"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
    ("gpt2", {"activation_function": "mish"}, 'activation_function "mish"'),
    ("gpt2", {"n_layer": 2}, "number of layers is 2, but the weights have"),
    ("gpt2", {"vocab_size": 9}, "vocab_size = 9"),
    ("gpt2", {"model_type": "gpt_bigcode"}, "gpt_bigcode"),
    ("openai_gpt", {"afn": "tanh"}, 'afn "tanh"'),
    ("openai_gpt", {"n_positions": 9}, "n_positions = 9"),
    ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, 'type "linear"'),
    ("llama", {"rope_parameters": {"rope_type": "llama3"}}, 'type "llama3"'),
    ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ("llama", {"attention_bias": True}, "all true or all false"),
    ("llama", {"attention_bias": True, "mlp_bias": True}, "lack 'model.layers.0"),
    ("llama", {"num_key_value_heads": 2}, "k_proj.weight has the shape"),
    ("llama", {"num_key_value_heads": 3}, "heads = 4 is not a multiple"),
    ("llama", {"num_hidden_layers": 2}, "number of layers is 2, but the weights have"),
    ("llama", {"model_type": "gemma"}, "gemma"),
    ("bart", {"model_type": "marian"}, 'model_type "marian"'),
    ("bart", {"normalize_before": True}, "normalize_before = true"),
    ("bart", {"activation_function": "mish"}, "mish"),
    ("bart", {"vocab_size": 7}, "vocab_size = 7"),
    ("pegasus", {"normalize_before": False}, "normalize_before = false"),
    ("t5", {"model_type": "umt5"}, 'model_type "umt5"'),
    ("t5", {"feed_forward_proj": "glu-gelu"}, 'feed_forward_proj "glu-gelu"'),
    ("t5", {"num_layers": 0}, r"model\.encoder\.layers: 0: must be greater"),
    ("t5-1.1", {"scale_decoder_outputs": True}, "lm_head.weight differs from shared"),
]


def changed_folder(folder: Path, out: Path, changes: dict[str, Any]) -> Path:
    """A copy of a model's folder with a changed config."""
    shutil.copytree(folder, out)
    config = {**json.loads((out / "config.json").read_text()), **changes}
    kept = {key: value for key, value in config.items() if value is not ABSENT}
    (out / "config.json").write_text(json.dumps(kept))
    return out


def assert_import_fails(folder: Path, out: Path, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(folder), out)
    assert re.search(sentence, str(caught.value))
    assert "\n" not in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize(("name", "changes", "sentence"), UNSUPPORTED, ids=lambda v: str(v)[:50])
def test_the_import_of_an_unsupported_config_fails(
    tmp_path: Path, saved: BuildSaved, name: str, changes: dict[str, Any], sentence: str
) -> None:
    folder = changed_folder(saved(CASES[name]).folder, tmp_path / "theirs", changes)
    assert_import_fails(folder, tmp_path / "out", sentence)


@pytest.mark.parametrize(
    ("name", "changes", "change", "sentence"),
    [
        ("bart", {"model_type": "mbart"}, final_norms, 'model_type "mbart".*Supported: .*bart'),
        ("bart", {}, final_norms, "ends in a norm .*, as in mBART"),
        ("bart", {}, another_layer, "_layers = 2, but the weights have model.*layers.2"),
        ("bart", {}, other_words_of_the_decoder, "differs from model.shared.weight"),
        ("pegasus", {}, random_positions, "is not a sinusoidal position table"),
    ],
)
def test_the_import_of_unsupported_tensors_fails(
    tmp_path: Path,
    saved: BuildSaved,
    name: str,
    changes: dict[str, Any],
    change: Callable[[Tensors], None],
    sentence: str,
) -> None:
    folder = changed_folder(saved(CASES[name]).folder, tmp_path / "theirs", changes)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    assert_import_fails(folder, tmp_path / "out", sentence)


@pytest.mark.parametrize("family", list(causal.MISTAKES), ids=lambda family: family.name)
def test_a_causal_config_without_weights_becomes_blocks_or_its_missing_key_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], family: Family
) -> None:
    config = family.config(100, {}).to_dict()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_DONE
    text = capsys.readouterr().out
    assert "visibility: causal" in text
    assert "type: lm" in text
    assert f"tied: {str(family is not causal.LLAMA).lower()}" in text
    del config["num_hidden_layers" if family is causal.LLAMA else "n_layer"]
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_USER
    assert "is missing" in capsys.readouterr().err


def test_a_bert_with_model_type_roberta_is_recognised_as_bert(
    tmp_path: Path, saved: BuildSaved
) -> None:
    """Like roberta-wwm-ext, whose positions start at 0."""
    theirs = saved(CASES["bert"])
    for number, changes in enumerate(({"model_type": "roberta"}, {"model_type": ABSENT}, {})):
        folder = changed_folder(theirs.folder, tmp_path / str(number), changes)
        assert HuggingFaceFolder(folder).family.name == "bert"
        assert open_source(str(folder)).recipe().model.embedding.position_offset == 0


def test_a_roberta_head_of_transformers_has_gelu_for_every_hidden_act() -> None:
    """Therefore ptm supports RoBERTa only with gelu."""
    config = bert.ROBERTA.config(30, {"hidden_act": "relu"})
    head = RobertaForMaskedLM(config).lm_head
    states = torch.randn(1, 2, config.hidden_size)
    inner = functional.gelu(head.dense(states))
    assert torch.equal(head(states), head.decoder(head.layer_norm(inner)))
