"""GPT and GPT-2 of UER-py: older configs, logits of UER-py's modules, BPE vocabularies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.model.plain_model import loaded_model
from tests.support.bert_pairs import (
    lay_out_rows,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.causal_pairs import causal_blocks
from tests.support.uer_models import (
    NEXT_CONFIGS,
    import_uer,
    old_names,
    write_checkpoint,
)
from tests.support.uer_modules import random_state


def test_an_old_config_with_only_sizes_is_completed_from_the_tensors(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    """Until 2021 all other options were on UER-py's command line."""
    config = NEXT_CONFIGS["gpt2"]
    sizes = {key: value for key, value in config.items() if type(value) in (int, float)}
    sizes["hidden_act"] = config["hidden_act"]
    sizes = {key: value for key, value in sizes.items() if not isinstance(value, bool)}
    state = old_names(random_state(config, words), pair="sp")
    source = import_uer(
        write_checkpoint(tmp_path / "old", sizes, state, small_vocab), tmp_path / "in"
    )
    whole = import_uer(
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
def test_an_import_has_the_logits_of_uer_pys_modules(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = NEXT_CONFIGS[name]
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    source = import_uer(path, tmp_path / "in")
    model = loaded_model(plan_of(source.recipe()), source.tensors(), source="imported")
    ids = torch.arange(5, 25)
    expected = reference(state, config, ids)
    found = ptm_logits(model, lay_out_rows([[ids]]))
    # UER-py's norm divides by the deviation over n - 1, ptm's over n: 2 % at this width.
    bound = 0.05 * float(expected.abs().max())
    assert float((found - expected).abs().max()) < bound
    state["encoder.transformer.1.feed_forward.linear_1.weight"] *= -1
    assert float((found - reference(state, config, ids)).abs().max()) > bound


def seeds_gpt(vocab: Path) -> dict[str, Any]:
    """GPT as in UER-py: post-norm, a norm of the embedding, an untied output."""
    blocks = causal_blocks("openai_gpt", vocab, tied=False, activation="gelu")
    blocks["model"]["embedding"]["layer_norm"] = True
    return blocks


def test_a_gpt_that_transformers_does_not_support_is_exported_to_uer_only(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = seeds_gpt(small_vocab)
    weights = random_weights(plan_of(recipe_of(blocks)))
    write_model(tmp_path / "model", blocks, weights)
    arguments = ["export", str(tmp_path / "model")]
    assert main([*arguments, str(tmp_path / "hf"), "--to", "hf"]) == EXIT_USER
    error = capsys.readouterr().err
    assert "openai_gpt: the embedding has a norm (model.embedding.layer_norm = true)" in error
    assert "bert" not in error
    assert main([*arguments, str(tmp_path / "uer"), "--to", "uer"]) == EXIT_DONE
    config = json.loads((tmp_path / "uer" / "config.json").read_text())
    assert (config["mask"], config["target"], config["tie_weights"]) == ("causal", ["lm"], False)
    back = import_uer(tmp_path / "uer", tmp_path / "back").tensors()
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())


def test_a_bpe_vocabulary_beside_a_checkpoint_has_gpt2s_special_tokens(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = NEXT_CONFIGS["gpt2"]
    path = write_checkpoint(tmp_path / "theirs", config, random_state(config, words), small_vocab)
    shutil.move(path.with_name("vocab.txt"), tmp_path / "kept.txt")
    tokens = [f"t{index}" for index in range(words - 2)]
    ids = {token: index for index, token in enumerate(["<unk>", *tokens, "<|endoftext|>"])}
    path.with_name("vocab.json").write_text(json.dumps(ids))
    path.with_name("merges.txt").write_text("#version: 0.2\n")
    vocabulary = import_uer(path, tmp_path / "in").recipe().tokenizer.load().vocabulary
    assert vocabulary.special_id("cls") == vocabulary.special_id("sep") == words - 1
