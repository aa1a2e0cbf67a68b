"""UER-py's targets bilm and cls: wrong checkpoints, options and models end with one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.cli import main
from ptm.errors import EXIT_USER
from ptm.recipe import ModelRecipe, recipe_from_data
from tests.support.bert_pairs import plan_of, random_weights, write_model
from tests.support.uer_models import CONFIGS, write_checkpoint
from tests.support.uer_modules import random_state
from tests.support.uer_recurrent_models import config_of, fine_tuned


def without_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("target.")}


ELMO, CLASSIFIER = config_of("bilstm", target="bilm"), config_of("lstm", target="cls")
BAD_IMPORTS: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...], str]] = [
    (ELMO, {"hidden_size": 17}, (), "hidden_size = 17 is odd"),
    (ELMO, {"encoder": "bigru"}, (), "has the shape"),
    (ELMO, {"encoder": "lstm"}, (), "'encoder.rnn.weight_ih_l0' is missing"),
    (ELMO, {"layers_num": 4}, (), "'encoder.rnn_forward.weight_ih_l3' is missing"),
    (ELMO, {"target": ["lm"]}, (), "contradicts the weights, which have the output layer of"),
    (ELMO, {}, ("objective.pooling=max",), "objective.pooling is an option for classifiers only"),
    (CLASSIFIER, {"pooling": "first"}, (), "Set objective.pooling: last, mean or max."),
    (CLASSIFIER, {"pooling": "sum"}, (), 'pooling = "sum" is not supported'),
    (CLASSIFIER, {}, ("objective.labels=[no, yes]",), "declares 2 labels, but"),
    (CLASSIFIER, {}, ("objective.labels=4",), "declares 4 labels, but"),
    (CLASSIFIER, {}, ("objective.masking=1",), "for classifiers objective.labels and"),
]


@pytest.mark.parametrize(
    ("config", "changes", "options", "sentence"), BAD_IMPORTS, ids=[case[3] for case in BAD_IMPORTS]
)
def test_a_wrong_import_is_an_error_with_the_reason(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    capsys: pytest.CaptureFixture[str],
    config: dict[str, Any],
    changes: dict[str, Any],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    state = random_state(config, words)
    path = write_checkpoint(tmp_path / "t", {**config, **changes}, state, small_vocab)
    command = ["import", str(path), str(tmp_path / "in"), "--from", "uer", *options]
    assert main(command) == EXIT_USER
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert "\n" not in error
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("config", [ELMO, CLASSIFIER], ids=["bilm", "cls"])
def test_weights_without_a_head_are_an_error(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    capsys: pytest.CaptureFixture[str],
    config: dict[str, Any],
) -> None:
    state = without_head(random_state(config, words))
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    assert main(["import", str(path), str(tmp_path / "in"), "--from", "uer"]) == EXIT_USER
    assert "but the weights have no head" in capsys.readouterr().err


def test_a_transformer_with_target_bilm_is_an_error(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**CONFIGS["mlm"], "target": ["bilm"], "tie_weights": False}
    head = {"target.bilm.output_layer.weight": torch.zeros(words, config["hidden_size"] // 2)}
    state = without_head(random_state(config, words)) | head
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    assert main(["import", str(path), str(tmp_path / "in"), "--from", "uer"]) == EXIT_USER
    assert (
        "model.encoder.type = transformer reads both directions" in capsys.readouterr().err.strip()
    )


def test_an_output_layer_of_one_dimension_is_an_error(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    state = random_state(CLASSIFIER, words)
    state["target.cls.linear_2.weight"] = torch.tensor(1.0)
    path = write_checkpoint(tmp_path / "t", CLASSIFIER, state, small_vocab)
    assert main(["import", str(path), str(tmp_path / "in"), "--from", "uer"]) == EXIT_USER
    assert "linear_2.weight has the shape ()" in capsys.readouterr().err


def test_two_heads_that_differ_are_an_error(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    state = random_state(CLASSIFIER, words)
    other = {name: tensor + 1 for name, tensor in fine_tuned(state).items()}
    path = write_checkpoint(tmp_path / "t", CLASSIFIER, other | state, small_vocab)
    assert main(["import", str(path), str(tmp_path / "in"), "--from", "uer"]) == EXIT_USER
    assert "is stored under two names, with different values" in capsys.readouterr().err


def recurrent_blocks(
    vocab: Path, encoder: str, objective: dict[str, Any], *, size: int = 12
) -> dict[str, Any]:
    """The blocks of a model of ptm with a recurrent encoder."""
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"parts": ["word"], "layer_norm": False, "size": size},
            "encoder": {"type": encoder, "layers": 2, "hidden_size": 16},
        },
        "objective": objective,
    }


def model_of(tmp_path: Path, blocks: dict[str, Any]) -> str:
    """The folder of a model with random weights."""
    recipe = recipe_from_data(blocks, ModelRecipe, name="blocks")
    write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe)))
    return str(tmp_path / "model")


@pytest.mark.parametrize(
    ("encoder", "objective", "sentence"),
    [
        ("bilstm", {"type": "bilm", "head": {"shared": False}}, "objective.head.shared = false"),
        ("bilstm", {"type": "bilm", "head": {"tied": True}}, "objective.head.tied = true"),
        ("bigru", {"type": "classification", "labels": 2, "mlm": {}}, "objective.mlm"),
    ],
)
def test_what_uer_py_cannot_express_is_not_exported(
    tmp_path: Path,
    small_vocab: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: str,
    objective: dict[str, Any],
    sentence: str,
) -> None:
    size = 8 if "bilm" in objective["type"] else 12
    model = model_of(tmp_path, recurrent_blocks(small_vocab, encoder, objective, size=size))
    assert main(["export", model, str(tmp_path / "out"), "--to", "uer"]) == EXIT_USER
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("encoder", "objective"),
    [("bilstm", {"type": "bilm"}), ("bilstm", {"type": "classification", "labels": 2})],
)
def test_an_export_to_transformers_names_the_export_to_uer(
    tmp_path: Path,
    small_vocab: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: str,
    objective: dict[str, Any],
) -> None:
    model = model_of(tmp_path, recurrent_blocks(small_vocab, encoder, objective))
    assert main(["export", model, str(tmp_path / "out"), "--to", "hf"]) == EXIT_USER
    assert "Use --to uer" in capsys.readouterr().err
