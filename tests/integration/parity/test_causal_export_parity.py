"""A GPT, a GPT-2 and a LLaMA have here the logits of their export, and every mistake would show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    OpenAIGPTLMHeadModel,
)

from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.interop.source import open_source
from tests.support.bert_pairs import (
    TOLERANCE,
    Pair,
    Rows,
    difference,
    hf_logits,
    hf_logits_alone,
    laid_out,
    packed,
    ptm_logits,
)
from tests.support.causal_pairs import GROUPS, HEADS, LAYERS, WIDTH, causal_pair
from tests.support.other_pairs import Weights, apart, with_options, with_weights

CLASSES = {
    "gpt2": GPT2LMHeadModel,
    "openai_gpt": OpenAIGPTLMHeadModel,
    "llama": LlamaForCausalLM,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "gpt2-eager": ("gpt2", {"attention": "eager"}),
    "gpt2-untied": ("gpt2", {"tied": False}),
    "gpt2-relu": ("gpt2", {"activation": "relu", "norm_epsilon": 1e-3}),
    "gpt2-unscaled": ("gpt2", {"attention_scale": False, "activation": "gelu"}),
    "openai_gpt": ("openai_gpt", {}),
    "openai_gpt-untied": ("openai_gpt", {"tied": False}),
    "openai_gpt-silu": ("openai_gpt", {"activation": "silu", "norm_epsilon": 1e-3}),
    "llama": ("llama", {}),
    "llama-eager": ("llama", {"attention": "eager"}),
    "llama-tied": ("llama", {"tied": True, "rotary": {"theta": 10000}}),
    "llama-ungrouped": ("llama", {"key_value_heads": None, "norm_epsilon": 1e-3}),
    "llama-heads": ("llama", {"head_size": 24, "key_value_heads": 1}),
    "llama-biases": ("llama", {"bias": True, "activation": "gelu_tanh"}),
}


@pytest.fixture(scope="module", params=CASES)
def each_pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    small_vocab: Path,
) -> tuple[str, Pair]:
    family, changes = CASES[request.param]
    folder = tmp_path_factory.mktemp("pair")
    return family, causal_pair(folder, family, small_vocab, bundled_texts, **changes)


def test_an_export_has_the_same_logits_alone_padded_and_packed(
    each_pair: tuple[str, Pair],
) -> None:
    family, pair = each_pair
    assert type(pair.theirs) is CLASSES[family]
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert float(theirs.abs().max()) == pytest.approx(5.0, rel=1e-3)
    for ids in pair.examples[:3]:
        alone = ptm_logits(pair.ours, laid_out([[ids]]))
        assert difference(alone, hf_logits_alone(pair.theirs, [ids])) <= TOLERANCE
    padded = laid_out([[ids] for ids in pair.examples])
    assert difference(ptm_logits(pair.ours, padded), hf_logits(pair.theirs, padded)) <= TOLERANCE
    assert apart(pair, pair.ours, packed(pair.examples, columns=128)) <= TOLERANCE


def test_an_export_loads_with_nothing_missing_and_reads_back_bit_for_bit(
    each_pair: tuple[str, Pair],
) -> None:
    family, pair = each_pair
    for loader in (AutoModelForCausalLM, AutoModel):
        _, info = loader.from_pretrained(pair.folder, output_loading_info=True)
        output = {"lm_head.weight"} if loader is AutoModel else set()
        assert not info["missing_keys"]
        assert not info["mismatched_keys"]
        assert not info["unexpected_keys"] - output
    folder = HuggingFaceFolder(pair.folder)
    assert folder.family.name == family
    back = folder.canonical()
    assert back.keys() == pair.weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in pair.weights.items())
    source = open_source(str(pair.folder))
    assert source.recipe().model == open_source(str(pair.folder.parent / "model")).recipe().model
    assert folder.left_out(back, source.recipe()) == []
    card = (pair.folder / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-generation" in card
    assert "AutoModelForCausalLM.from_pretrained" in card


@pytest.fixture(scope="module")
def pairs(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], small_vocab: Path
) -> dict[str, Pair]:
    return {
        family: causal_pair(tmp_path_factory.mktemp(family), family, small_vocab, bundled_texts)
        for family in CLASSES
    }


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((family, {"norm_epsilon": 1e-3}) for family in CLASSES),
    *((family, {"attention_scale": False}) for family in CLASSES),
    *((family, {"activation": "gelu"}) for family in CLASSES),
    ("llama", {"rotary": {"theta": 450.0}}),
    ("llama", {"rotary": None}),
    ("llama", {"norm": "layer"}),
    ("gpt2", {"window": 8}),
]


@pytest.mark.parametrize(("family", "changes"), OPTIONS, ids=str)
def test_another_option_shows(pairs: dict[str, Pair], family: str, changes: dict[str, Any]) -> None:
    pair = pairs[family]
    rows = packed(pair.examples, columns=128)
    assert apart(pair, with_options(pair, "encoder"), rows) <= TOLERANCE
    assert apart(pair, with_options(pair, "encoder", **changes), rows) > 2 * TOLERANCE


LAST = f"encoder_{LAYERS - 1:02}"


def swapped_query(weights: Weights) -> None:
    query, key, value = weights[f"{LAST}.attention.qkv.weight"].split(_sizes(weights))
    parts = (query[: len(key)], value, key) if len(key) < len(query) else (key, query, value)
    rest = query[len(key) :] if len(key) < len(query) else query[:0]
    weights[f"{LAST}.attention.qkv.weight"] = torch.cat((parts[0], rest, *parts[1:]))


def _sizes(weights: Weights) -> list[int]:
    rows = len(weights[f"{LAST}.attention.qkv.weight"])
    other = (rows - WIDTH) // 2
    return [WIDTH, other, other]


def forgotten(name: str) -> Callable[[Weights], None]:
    """Where it is a norm: its mean for all of it."""

    def forget(weights: Weights) -> None:
        weights[name].fill_(float(weights[name].mean()) if "norm" in name else 0.0)

    forget.__name__ = name
    return forget


def queries_of_other_groups(weights: Weights) -> None:
    """Query heads by turns to the groups, instead of neighbours to one."""
    query, key, value = weights[f"{LAST}.attention.qkv.weight"].split(_sizes(weights))
    heads = query.view(HEADS // GROUPS, GROUPS, -1, WIDTH).transpose(0, 1)
    weights[f"{LAST}.attention.qkv.weight"] = torch.cat((heads.reshape(WIDTH, WIDTH), key, value))


def neighbours_turned_together(weights: Weights) -> None:
    """Pairs of a head as in GPT-J and in LLaMA's own files, instead of its halves."""
    query, key, value = weights[f"{LAST}.attention.qkv.weight"].split(_sizes(weights))
    size = WIDTH // HEADS
    order = torch.arange(size).view(2, -1).T.flatten()
    turned = [
        torch.cat([part[order + first] for first in range(0, len(part), size)])
        for part in (query, key)
    ]
    weights[f"{LAST}.attention.qkv.weight"] = torch.cat((*turned, value))


def swapped_gate(weights: Weights) -> None:
    gate, up = weights[f"{LAST}.feed_forward.gate_up.weight"].chunk(2)
    weights[f"{LAST}.feed_forward.gate_up.weight"] = torch.cat((up, gate))


def not_transposed(weights: Weights) -> None:
    weights[f"{LAST}.attention.output.weight"] = weights[f"{LAST}.attention.output.weight"].T


GPT_BIASES = [
    f"{LAST}.{name}.bias"
    for name in ("attention.qkv", "attention.output", "feed_forward.up", "feed_forward.down")
]
NORMS = [f"{LAST}.attention_norm.weight", "encoder_00.feed_forward_norm.weight"]
MUTATIONS: list[tuple[str, Callable[[Weights], None]]] = [
    *((family, swapped_query) for family in CLASSES),
    *((family, not_transposed) for family in CLASSES),
    *((family, forgotten(name)) for family in CLASSES for name in NORMS),
    *((family, forgotten(name)) for family in ("gpt2", "openai_gpt") for name in GPT_BIASES),
    *((family, forgotten("encoder_norm.weight")) for family in ("gpt2", "llama")),
    ("gpt2", forgotten("encoder_norm.bias")),
    ("gpt2", forgotten("embedding.position.weight")),
    ("llama", swapped_gate),
    ("llama", queries_of_other_groups),
    ("llama", neighbours_turned_together),
    ("llama", forgotten("lm_unembed.weight")),
]


@pytest.mark.parametrize(
    ("family", "change"), MUTATIONS, ids=lambda value: getattr(value, "__name__", value)
)
def test_wrong_weights_show(
    pairs: dict[str, Pair], family: str, change: Callable[[Weights], None]
) -> None:
    pair = pairs[family]
    rows = packed(pair.examples, columns=128)
    assert apart(pair, with_weights(pair, change), rows) > 2 * TOLERANCE


@pytest.mark.parametrize(
    ("family", "name", "wrong"),
    [
        ("gpt2", "position_ids", lambda rows: rows["position_ids"] + 1),
        ("openai_gpt", "position_ids", lambda rows: rows["position_ids"] + 1),
        ("llama", "position_ids", lambda rows: 2 * rows["position_ids"]),
        *(
            (family, "example_ids", lambda rows: (rows["example_ids"] > 0).long())
            for family in CLASSES
        ),
    ],
)
def test_wrong_rows_show(
    pairs: dict[str, Pair], family: str, name: str, wrong: Callable[[dict[str, Tensor]], Tensor]
) -> None:
    pair = pairs[family]
    rows = packed(pair.examples, columns=100)
    changed = Rows({**rows.tensors, name: wrong(rows.tensors)}, rows.examples)
    assert apart(pair, pair.ours, rows) <= TOLERANCE
    assert apart(pair, pair.ours, changed) > 2 * TOLERANCE
