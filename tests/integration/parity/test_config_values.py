"""Values of a config.json mean in ptm what they mean in transformers, wherever they are written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers.activations import ACT2FN
from transformers.models.openai.modeling_openai import ACT_FNS

from ptm.errors import UserError
from ptm.interop.import_config import recipe_blocks
from ptm.nn.layers import activate
from tests.integration.parity.cases import bert, causal, encoder_decoders, modernbert
from tests.integration.parity.cases.models import Family

WORDS = 120


def blocks(folder: Path, family: Family, changes: dict[str, Any]) -> dict[str, Any]:
    """The blocks of a recipe for the family's config with `changes`; None removes a key."""
    content = {**family.config(WORDS, {}).to_dict(), "rope_parameters": None, **changes}
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    found: dict[str, Any] = yaml.safe_load(recipe_blocks(path))
    return found


THETAS: list[dict[str, Any]] = [
    {},
    {"rope_theta": 30.0},
    {"rope_scaling": {"rope_type": "default", "rope_theta": 20.0}},
    {"rope_scaling": {"type": "default", "rope_theta": 20.0}},
    {"rope_scaling": {"type": "linear", "factor": 1.0}, "rope_theta": 30},
    {"rope_scaling": {"type": "default"}, "rope_theta": 30.0},
    {"rope_parameters": {"rope_theta": 40.0}},
    {"rope_parameters": {"rope_theta": 40.0}, "rope_theta": 40},
]


@pytest.mark.parametrize("changes", THETAS, ids=json.dumps)
def test_the_rotary_base_of_a_llama_is_that_of_transformers(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    found = blocks(tmp_path, causal.LLAMA, changes)["model"]["encoder"]["rotary"]["theta"]
    theirs = causal.LLAMA.config_class.from_pretrained(tmp_path)
    assert found == theirs.rope_parameters["rope_theta"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"global_rope_theta": 30.0, "local_rope_theta": 20.0},
        {"rope_scaling": {"rope_type": "default", "rope_theta": 20.0}},
        {"rope_parameters": {"full_attention": {"rope_theta": 40.0}}},
    ],
    ids=json.dumps,
)
def test_the_rotary_bases_of_a_modernbert_are_those_of_transformers(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    rotary = blocks(tmp_path, modernbert.MODERNBERT, changes)["model"]["encoder"]["rotary"]
    theirs = modernbert.MODERNBERT.config_class.from_pretrained(tmp_path).rope_parameters
    assert rotary["theta"] == theirs["full_attention"]["rope_theta"]
    assert rotary["local_theta"] == theirs["sliding_attention"]["rope_theta"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"rope_theta": 30.0, "rope_scaling": {"type": "default", "rope_theta": 20.0}},
            "rope_theta in rope_scaling = 20 and rope_theta = 30 contradict each other",
        ),
        (
            {"rope_scaling": {"rope_theta": 20.0}, "rope_parameters": {"rope_theta": 40.0}},
            "rope_theta in rope_scaling = 20 and rope_theta in rope_parameters = 40 contradict",
        ),
        ({"rope_scaling": "linear"}, 'rope_scaling = "linear" is not supported'),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 'type "linear" are not supported'),
    ],
    ids=str,
)
def test_contradictory_and_scaled_rotary_positions_are_rejected(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        blocks(tmp_path, causal.LLAMA, changes)


NAMES = ("gelu", "gelu_python", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh")
FURTHER = ("gelu_python_tanh", "relu", "silu", "swish", "tanh")


@pytest.mark.parametrize("name", [*NAMES, *FURTHER])
def test_an_activation_is_the_function_of_transformers(tmp_path: Path, name: str) -> None:
    hidden = torch.linspace(-6, 6, 1001)
    expected = ACT2FN[name](hidden)
    cases = (
        (bert.BERT, {"hidden_act": name}),
        (causal.LLAMA, {"hidden_act": name}),
        (encoder_decoders.T5, {"feed_forward_proj": f"gated-{name}", "dense_act_fn": None}),
    )
    for family, changes in cases:
        if family is encoder_decoders.T5 and name == "gelu":
            # Means the tanh approximation.
            continue
        found = blocks(tmp_path, family, {"is_gated_act": None, **changes})
        activation = found["model"]["encoder"]["activation"]
        assert torch.allclose(activate(activation, hidden), expected, atol=1e-6), family.name


@pytest.mark.parametrize("name", ["gelu", "relu", "silu", "swish"])
def test_an_activation_of_an_openai_gpt_is_that_of_transformers(tmp_path: Path, name: str) -> None:
    hidden = torch.linspace(-6, 6, 1001)
    found = blocks(tmp_path, causal.OPENAI_GPT, {"afn": name})["model"]["encoder"]["activation"]
    assert torch.allclose(activate(found, hidden), ACT_FNS[name](hidden), atol=1e-6)


def test_equal_activations_under_two_names_are_equal_in_a_modernbert(tmp_path: Path) -> None:
    changes = {"hidden_activation": "gelu", "classifier_activation": "gelu_python"}
    found = blocks(tmp_path, modernbert.MODERNBERT, changes)
    assert found["model"]["encoder"]["activation"] == "gelu"


def test_a_null_is_an_absent_key(tmp_path: Path) -> None:
    """Also for keys whose default is not null."""
    keys = ("hidden_act", "layer_norm_eps", "type_vocab_size", "hidden_dropout_prob")
    expected = blocks(tmp_path, bert.BERT, dict.fromkeys(keys))
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **dict.fromkeys(keys)}))
    assert yaml.safe_load(recipe_blocks(path)) == expected


def test_pool_act_is_that_of_the_pooler_in_transformers(tmp_path: Path) -> None:
    blocks(tmp_path, bert.ERNIE, {"pool_act": "tanh"})
    with pytest.raises(UserError, match='pool_act = "relu" is not supported'):
        blocks(tmp_path, bert.ERNIE, {"pool_act": "relu"})
