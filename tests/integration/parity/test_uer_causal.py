"""GPT and GPT-2 of UER-py: older configs, logits of UER-py's modules, BPE vocabularies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.bert_pairs import (
    plan_of,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.causal_pairs import causal_blocks
from tests.support.uer_models import (
    NEXT_CONFIGS,
    assert_same_tensors,
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
    assert "openai_gpt: model.encoder.activation = gelu" in error
    assert "bert" not in error
    assert main([*arguments, str(tmp_path / "uer"), "--to", "uer"]) == EXIT_DONE
    config = json.loads((tmp_path / "uer" / "config.json").read_text())
    assert (config["mask"], config["target"], config["tie_weights"]) == ("causal", ["lm"], False)
    assert_same_tensors(import_uer(tmp_path / "uer", tmp_path / "back").tensors(), weights)


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
