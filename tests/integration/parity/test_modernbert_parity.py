"""A ModernBERT has the same logits here and in transformers, and every mistake would show."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertModel,
)

from ptm.errors import UserError
from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.bert_pairs import (
    TOLERANCE,
    Pair,
    Rows,
    difference,
    examples_of,
    hf_logits,
    hf_logits_alone,
    laid_out,
    make_pair,
    packed,
    ptm_logits,
)
from tests.support.other_pairs import (
    Weights,
    apart,
    imported,
    outputs,
    random_theirs,
    with_options,
    with_weights,
)

LAYERS, WIDTH, HEADS = 5, 64, 2
EVERY, WINDOW = 3, 8


def blocks_of(vocab: Path, *, head: dict[str, bool] | None = None, **changes: Any) -> Any:
    encoder = {
        "type": "transformer",
        "layers": LAYERS,
        "hidden_size": WIDTH,
        "heads": HEADS,
        "feed_forward_size": 96,
        "feed_forward": "gated",
        "norm_position": "pre",
        "norm_epsilon": 1e-5,
        "first_norm": False,
        "bias": False,
        "rotary": {"theta": 160000, "local_theta": 10000},
        "window": WINDOW,
        "global_every": EVERY,
        **changes,
    }
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {"embedding": {"of": ["word"], "positions": 1024}, "encoder": encoder},
        "objective": {"type": "mlm", "head": head or {}},
    }


CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "eager": {"attention": "eager"},
    "untied": {"head": {"tied": False}},
    "no-output-bias": {"head": {"bias": False}},
    "biases": {"bias": True},
    "no-window": {"window": None, "global_every": None, "rotary": {"theta": 500.0}},
    "one-theta": {"rotary": {"theta": 300.0}, "window": 4, "global_every": 2},
    "tanh-gelu": {"activation": "gelu_tanh", "norm_epsilon": 1e-6},
    "silu": {"activation": "silu"},
}


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def each_pair(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundled_texts: list[str],
    small_vocab: Path,
) -> Pair:
    case = dict(request.param)
    attention = case.pop("attention", "sdpa")
    folder = tmp_path_factory.mktemp("pair")
    return make_pair(folder, blocks_of(small_vocab, **case), bundled_texts, attention=attention)


def test_an_export_has_the_same_logits_alone_padded_and_packed(each_pair: Pair) -> None:
    pair = each_pair
    assert isinstance(pair.theirs, ModernBertForMaskedLM)
    theirs = hf_logits_alone(pair.theirs, pair.examples)
    assert float(theirs.abs().max()) == pytest.approx(5.0, rel=1e-3)
    for ids in pair.examples[:3]:
        alone = ptm_logits(pair.ours, laid_out([[ids]]))
        assert difference(alone, hf_logits_alone(pair.theirs, [ids])) <= TOLERANCE
    padded = laid_out([[ids] for ids in pair.examples])
    assert difference(ptm_logits(pair.ours, padded), hf_logits(pair.theirs, padded)) <= TOLERANCE
    assert apart(pair, pair.ours, packed(pair.examples, columns=128)) <= TOLERANCE


def test_an_export_read_back_has_the_weights_it_was_made_from(each_pair: Pair) -> None:
    folder = HuggingFaceFolder(each_pair.folder)
    assert folder.family.name == "modernbert"
    back = folder.canonical()
    assert back.keys() == each_pair.weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in each_pair.weights.items())
    _, info = AutoModelForMaskedLM.from_pretrained(each_pair.folder, output_loading_info=True)
    assert not any(info.values()), info


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, bundled_texts: list[str], small_vocab: Path
) -> Pair:
    return make_pair(tmp_path_factory.mktemp("pair"), blocks_of(small_vocab), bundled_texts)


@pytest.fixture(scope="module")
def rows(pair: Pair) -> Rows:
    return packed(pair.examples, columns=128)


@pytest.mark.parametrize(
    "changes",
    [
        {"activation": "gelu_tanh"},
        {"norm_epsilon": 1e-3},
        {"attention_scale": False},
        {"window": WINDOW - 2},
        {"window": WINDOW + 2},
        {"global_every": EVERY - 1},
        {"window": None, "global_every": None, "rotary": {"theta": 160000}},
        {"rotary": None},
        {"rotary": {"theta": 160000}},
        {"rotary": {"theta": 10000, "local_theta": 160000}},
        {"rotary": {"theta": 150000, "local_theta": 10000}},
    ],
    ids=str,
)
def test_another_option_shows(pair: Pair, rows: Rows, changes: dict[str, Any]) -> None:
    assert apart(pair, with_options(pair, "encoder"), rows) <= TOLERANCE
    assert apart(pair, with_options(pair, "encoder", **changes), rows) > 2 * TOLERANCE


def swapped_gate(weights: Weights) -> None:
    gate, up = weights["encoder_04.feed_forward.gate_up.weight"].chunk(2)
    weights["encoder_04.feed_forward.gate_up.weight"] = torch.cat((up, gate))


def swapped_query(weights: Weights) -> None:
    query, key, value = weights["encoder_04.attention.qkv.weight"].chunk(3)
    weights["encoder_04.attention.qkv.weight"] = torch.cat((key, value, query))


def other_pairs_of_a_head(weights: Weights) -> None:
    """Neighbours turned together, as in GPT-J, instead of halves."""
    query, key, value = weights["encoder_03.attention.qkv.weight"].chunk(3)
    size = WIDTH // HEADS
    order = torch.arange(size).view(2, -1).T.flatten()
    order = torch.cat([order + head * size for head in range(HEADS)])
    weights["encoder_03.attention.qkv.weight"] = torch.cat((query[order], key[order], value))


def forgotten_norm(name: str) -> Callable[[Weights], None]:
    def forget(weights: Weights) -> None:
        weights[name].fill_(float(weights[name].mean()))

    forget.__name__ = name
    return forget


def forgotten_output_bias(weights: Weights) -> None:
    weights["mlm_bias.bias"].zero_()


NORMS = ("embedding.norm", "encoder_04.attention_norm", "encoder_00.feed_forward_norm")
MUTATIONS: list[Callable[[Weights], None]] = [
    swapped_gate,
    swapped_query,
    other_pairs_of_a_head,
    *(forgotten_norm(f"{name}.weight") for name in (*NORMS, "encoder_norm", "mlm_transform.norm")),
    forgotten_output_bias,
]


@pytest.mark.parametrize("change", MUTATIONS, ids=lambda change: change.__name__)
def test_wrong_weights_show(pair: Pair, rows: Rows, change: Callable[[Weights], None]) -> None:
    assert apart(pair, with_weights(pair, change), rows) > 2 * TOLERANCE


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("position_ids", lambda rows: 2 * rows["position_ids"]),
        ("example_ids", lambda rows: (rows["example_ids"] > 0).long()),
        ("example_ids", lambda rows: rows["example_ids"].clamp(min=1)),
    ],
    ids=["positions", "examples", "padding"],
)
def test_wrong_rows_show(
    pair: Pair, rows: Rows, name: str, wrong: Callable[[dict[str, Tensor]], Tensor]
) -> None:
    changed = Rows({**rows.tensors, name: wrong(rows.tensors)}, rows.examples)
    assert apart(pair, pair.ours, changed) > 2 * TOLERANCE


def theirs_of(vocab: Path, texts: list[str], **changes: Any) -> tuple[Any, list[Tensor]]:
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab)).load()
    examples = examples_of(tokenizer, texts, longest=48)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 5}
    config = ModernBertConfig(
        vocab_size=tokenizer.vocabulary.size,
        **{"pad_token_id": 0, "num_attention_heads": 2, "local_attention": 8, **sizes, **changes},
    )
    model = ModernBertForMaskedLM(config)
    return random_theirs(model, examples, head=model.head.norm), examples


PATTERN = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tie_word_embeddings": False},
        {"decoder_bias": False},
        {"global_attn_every_n_layers": 2, "global_rope_theta": 500.0, "local_rope_theta": 90.0},
        {"num_hidden_layers": 4, "layer_types": PATTERN},
        {"num_hidden_layers": 2, "layer_types": ["full_attention"] * 2},
        {"hidden_activation": "silu", "classifier_activation": "silu", "norm_eps": 1e-6},
        dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
    ],
    ids=["plain", "untied", "no-output-bias", "older-keys", "pattern", "global", "silu", "biases"],
)
def test_an_import_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str], changes: dict[str, Any]
) -> None:
    theirs, examples = theirs_of(small_vocab, bundled_texts, **changes)
    assert outputs(theirs) or not changes.get("decoder_bias", True)
    ours, recipe = imported(theirs, small_vocab, tmp_path)
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE
    assert recipe.model.embedding.longest_sequence is None
    assert recipe.model.embedding.positions == 8192


def test_an_encoder_without_its_prefix_is_imported_without_a_head(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    theirs, _ = theirs_of(small_vocab, bundled_texts)
    bare = ModernBertModel(theirs.config)
    bare.load_state_dict(theirs.model.state_dict())
    bare.save_pretrained(tmp_path)
    back = HuggingFaceFolder(tmp_path).canonical()
    assert not any(name.startswith("mlm_") for name in back)
    assert torch.equal(back["encoder_norm.weight"], theirs.model.final_norm.weight)
    assert "encoder_00.attention_norm.weight" not in back


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"norm_bias": True}, "everywhere or nowhere"),
        ({"classifier_activation": "relu"}, "classifier_activation"),
        ({"hidden_activation": "mish", "classifier_activation": "mish"}, "mish"),
        ({"layer_types": ["sliding_attention"] * 5}, "layer_types"),
        ({"num_hidden_layers": 4}, "num_hidden_layers = 4"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "scaled"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, small_vocab: Path, pair: Pair, changes: dict[str, Any], sentence: str
) -> None:
    for file in pair.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    folder = HuggingFaceFolder(tmp_path)
    with pytest.raises(UserError, match=sentence):
        (folder.recipe_data(), folder.canonical())


def test_the_exported_config_means_what_the_recipe_says(pair: Pair) -> None:
    config = AutoConfig.from_pretrained(pair.folder)
    whole = [kind == "full_attention" for kind in config.layer_types]
    assert whole == [index % EVERY == 0 for index in range(LAYERS)]
    assert config.rope_parameters["full_attention"]["rope_theta"] == 160000
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10000
    assert config.sliding_window == WINDOW // 2
    assert config.max_position_embeddings == 1024


def test_a_matrix_that_is_there_twice_is_one_where_it_is_shared(tmp_path: Path, pair: Pair) -> None:
    for file in pair.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(pair.folder / "model.safetensors")
    words = weights["model.embeddings.tok_embeddings.weight"]
    save_file({**weights, "decoder.weight": words.clone()}, tmp_path / "model.safetensors")
    assert HuggingFaceFolder(tmp_path).canonical().keys() == pair.weights.keys()
