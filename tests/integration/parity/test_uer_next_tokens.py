"""GPT and GPT-2 come from UER-py and TencentPretrain and go back without losing a bit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import read_weights
from ptm.interop.importing import import_from_uer
from ptm.interop.source import open_source
from ptm.interop.source_contract import Source
from ptm.interop.uer.export import export_to_uer
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import (
    laid_out,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.causal_pairs import causal_blocks
from tests.support.uer_models import NEXT_CONFIGS, old_names, random_state, write_checkpoint


@pytest.fixture
def words(small_vocab: Path) -> int:
    return len(small_vocab.read_text(encoding="utf-8").splitlines())


def imported(path: Path, out: Path) -> Source:
    import_from_uer(str(path), out, config=None, vocab=None)
    return open_source(str(out))


@pytest.mark.parametrize("old", [False, True], ids=["new-names", "old-names"])
@pytest.mark.parametrize("name", NEXT_CONFIGS)
def test_a_checkpoint_goes_in_and_out_bit_for_bit(
    tmp_path: Path, small_vocab: Path, words: int, name: str, old: bool
) -> None:
    config = NEXT_CONFIGS[name]
    state = random_state(config, words)
    written = old_names(state, pair="sp") if old else state
    source = imported(
        write_checkpoint(tmp_path / "theirs", config, written, small_vocab), tmp_path / "in"
    )
    assert source.recipe().objective.type == "lm"
    export_to_uer(source, tmp_path / "back")
    back = read_weights(tmp_path / "back" / "model.bin")
    assert back.keys() == state.keys()
    for tensor_name, tensor in state.items():
        assert torch.equal(back[tensor_name], tensor), tensor_name
    there = json.loads((tmp_path / "back" / "config.json").read_text())
    for key, value in config.items():
        assert there.get(key, False) == value, key


def test_an_old_config_of_sizes_alone_is_completed_by_the_tensors(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    """Until 2021 all else stood on the command line."""
    config = NEXT_CONFIGS["gpt2"]
    sizes = {key: value for key, value in config.items() if type(value) in (int, float)}
    sizes["hidden_act"] = config["hidden_act"]
    sizes = {key: value for key, value in sizes.items() if not isinstance(value, bool)}
    state = old_names(random_state(config, words), pair="sp")
    source = imported(
        write_checkpoint(tmp_path / "old", sizes, state, small_vocab), tmp_path / "in"
    )
    whole = imported(
        write_checkpoint(tmp_path / "new", config, random_state(config, words), small_vocab),
        tmp_path / "whole",
    )
    assert source.recipe().model == whole.recipe().model
    assert source.recipe().objective == whole.recipe().objective


def reference(state: dict[str, Tensor], config: dict[str, Any], ids: Tensor) -> Tensor:
    """Logits (T, V) as UER-py's modules compute them, written from its source."""
    heads, size = config["heads_num"], config["hidden_size"] // config["heads_num"]
    pre = config.get("layernorm_positioning") == "pre"

    def norm(x: Tensor, name: str) -> Tensor:
        gamma, beta = state[f"{name}.gamma"], state[f"{name}.beta"]
        return gamma * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + beta

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[f"{name}.weight"].T + state.get(f"{name}.bias", torch.zeros(()))

    def attention(x: Tensor, name: str) -> Tensor:
        query, key, value = (
            linear(x, f"{name}.linear_layers.{part}").view(-1, heads, size).transpose(0, 1)
            for part in range(3)
        )
        scores = query @ key.transpose(1, 2) / size**0.5
        scores = scores + (1.0 - torch.ones(len(x), len(x)).tril()) * -10000
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).reshape(len(x), -1)
        return linear(mixed, f"{name}.final_linear")

    def feed_forward(x: Tensor, name: str) -> Tensor:
        approximate = "tanh" if config["hidden_act"] == "gelu_fast" else "none"
        raised = linear(x, f"{name}.linear_1")
        return linear(torch.nn.functional.gelu(raised, approximate=approximate), f"{name}.linear_2")

    words = state["embedding.word.embedding.weight"][ids]
    x = words + state["embedding.pos.embedding.weight"][: len(ids)]
    if not config.get("remove_embedding_layernorm"):
        x = norm(x, "embedding.layer_norm")
    for index in range(config["layers_num"]):
        name = f"encoder.transformer.{index}"
        if pre:
            x = x + attention(norm(x, f"{name}.layer_norm_1"), f"{name}.self_attn")
            x = x + feed_forward(norm(x, f"{name}.layer_norm_2"), f"{name}.feed_forward")
        else:
            x = norm(x + attention(x, f"{name}.self_attn"), f"{name}.layer_norm_1")
            x = norm(x + feed_forward(x, f"{name}.feed_forward"), f"{name}.layer_norm_2")
    return linear(norm(x, "encoder.layer_norm") if pre else x, "target.lm.output_layer")


@pytest.mark.parametrize("name", NEXT_CONFIGS)
def test_an_import_computes_what_their_modules_compute(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = NEXT_CONFIGS[name]
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    source = imported(path, tmp_path / "in")
    model = loaded_model(plan_of(source.recipe()), source.tensors(), source="imported")
    ids = torch.arange(5, 25)
    expected = reference(state, config, ids)
    found = ptm_logits(model, laid_out([[ids]]))
    # Their norm divides by the deviation over n - 1, ours by that over n: 2 % at this width.
    bound = 0.05 * float(expected.abs().max())
    assert float((found - expected).abs().max()) < bound
    state["encoder.transformer.1.feed_forward.linear_1.weight"] *= -1
    assert float((found - reference(state, config, ids)).abs().max()) > bound


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mask": "fully_visible"}, '"causal" goes with "lm"'),
        ({"mask": "causal_with_prefix"}, "causal_with_prefix"),
        ({"target": ["mlm"]}, "target"),
        ({"target": ["mlm"], "mask": "fully_visible"}, "have the output layer of lm"),
        ({"target": ["lm"], "emb_size": 8, "factorized_embedding_parameterization": True}, "lm"),
        ({"rotary_position_embedding": True}, "rotary_position_embedding"),
    ],
    ids=str,
)
def test_a_config_of_another_model_is_refused(
    tmp_path: Path, small_vocab: Path, words: int, changes: dict[str, Any], named: str
) -> None:
    config = NEXT_CONFIGS["gpt2"]
    path = write_checkpoint(
        tmp_path / "theirs", {**config, **changes}, random_state(config, words), small_vocab
    )
    with pytest.raises(UserError, match=named):
        import_from_uer(str(path), tmp_path / "out", config=None, vocab=None)
    assert not (tmp_path / "out").exists()


def seeds_gpt(vocab: Path) -> dict[str, Any]:
    """GPT as the seeds have it: post-norm, a norm of the embedding, an output matrix of its own."""
    blocks = causal_blocks("openai_gpt", vocab, tied=False, activation="gelu")
    blocks["model"]["embedding"]["layer_norm"] = True
    return blocks


def test_a_gpt_that_has_no_home_in_transformers_is_refused_there_and_goes_to_uer(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = seeds_gpt(small_vocab)
    weights = random_weights(plan_of(recipe_of(blocks)))
    write_model(tmp_path / "model", blocks, weights)
    arguments = ["export", str(tmp_path / "model")]
    assert main([*arguments, str(tmp_path / "hf"), "--to", "hf"]) == EXIT_USER
    told = capsys.readouterr().err
    assert "openai_gpt: its embedding has a norm (model.embedding.layer_norm = true)" in told
    assert "bert" not in told
    assert main([*arguments, str(tmp_path / "uer"), "--to", "uer"]) == EXIT_DONE
    there = json.loads((tmp_path / "uer" / "config.json").read_text())
    assert (there["mask"], there["target"], there["tie_weights"]) == ("causal", ["lm"], False)
    back = imported(tmp_path / "uer", tmp_path / "back").tensors()
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def changed(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *blocks, key = path.split(".")

    def change(whole: dict[str, Any]) -> None:
        for block in blocks:
            whole = whole.setdefault(block, {})
        whole[key] = value

    change.__name__ = path
    return change


@pytest.mark.parametrize(
    ("family", "change", "sentence"),
    [
        ("openai_gpt", changed("model.encoder.activation", "gelu"), "activation = gelu"),
        ("openai_gpt", changed("model.encoder.feed_forward_size", 96), "feed_forward_size = 96"),
        ("gpt2", changed("model.encoder.key_value_heads", 2), "key_value_heads = 2"),
        ("gpt2", changed("model.encoder.head_size", 8), "head_size = 8"),
        ("gpt2", changed("model.encoder.window", 8), "window = 8"),
        ("gpt2", changed("objective.head.bias", True), "objective.head.bias = True"),
        ("gpt2", changed("model.embedding.scaled", True), "model.embedding.scaled = True"),
        ("gpt2", changed("model.embedding.size", 32), "narrower"),
        ("gpt2", changed("model.encoder.bias", False), "bias = false"),
        ("llama", changed("model.encoder.norm", "layer"), "norm = layer"),
        ("llama", changed("model.encoder.rotary", None), "no model.encoder.rotary"),
        ("llama", changed("model.encoder.feed_forward", "dense"), "feed_forward = dense"),
        ("llama", changed("model.embedding.of", ["word", "position"]), "word, position"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_family_cannot_say_is_refused_by_its_option(
    tmp_path: Path,
    small_vocab: Path,
    family: str,
    change: Callable[[dict[str, Any]], None],
    sentence: str,
) -> None:
    blocks = causal_blocks(family, small_vocab)
    change(blocks)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError) as caught:
        export_to_huggingface(source, tmp_path / "out", weights_format="safetensors")
    (told,) = (part for part in str(caught.value).split(";") if f"{family}: " in part)
    assert sentence in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("family", "change", "named"),
    [
        ("gpt2", changed("model.encoder.key_value_heads", 2), "key_value_heads"),
        ("gpt2", changed("model.encoder.head_size", 8), "head_size"),
        ("gpt2", changed("model.embedding.scaled", True), "scaled"),
        ("gpt2", changed("model.encoder.position_bias", {"buckets": 32}), "position_bias"),
        ("gpt2", changed("objective.head.scaled", True), "objective.head.scaled"),
        ("gpt2", changed("model.embedding.size", 32), "model.embedding.size"),
        ("llama", changed("model.encoder.key_value_heads", None), "feed_forward"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_uer_cannot_say_is_refused(
    tmp_path: Path,
    small_vocab: Path,
    family: str,
    change: Callable[[dict[str, Any]], None],
    named: str,
) -> None:
    blocks = causal_blocks(family, small_vocab)
    change(blocks)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=named):
        export_to_uer(source, tmp_path / "out")


def test_a_bpe_vocabulary_beside_a_checkpoint_is_gpt2s(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = NEXT_CONFIGS["gpt2"]
    path = write_checkpoint(tmp_path / "theirs", config, random_state(config, words), small_vocab)
    shutil.move(path.with_name("vocab.txt"), tmp_path / "kept.txt")
    tokens = [f"t{index}" for index in range(words - 2)]
    ids = {token: index for index, token in enumerate(["<unk>", *tokens, "<|endoftext|>"])}
    path.with_name("vocab.json").write_text(json.dumps(ids))
    path.with_name("merges.txt").write_text("#version: 0.2\n")
    vocabulary = imported(path, tmp_path / "in").recipe().tokenizer.load().vocabulary
    assert vocabulary.special_id("cls") == vocabulary.special_id("sep") == words - 1
