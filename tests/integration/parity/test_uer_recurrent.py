"""Recurrent and convolutional models of UER-py: logits of a second implementation, round trips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.interop.uer.export import export_to_uer
from ptm.interop.weights_file import read_weights
from ptm.model.plain_model import loaded_model
from tests.support.bert_pairs import (
    TOLERANCE,
    difference,
    lay_out_rows,
    plan_of,
    ptm_logits,
    random_weights,
    recipe_of,
    write_model,
)
from tests.support.uer_encoders import RECURRENT, TWO_STREAMS
from tests.support.uer_models import assert_same_tensors, import_uer, write_checkpoint
from tests.support.uer_modules import random_state
from tests.support.uer_recurrent_models import config_of, logits_of

ENCODERS = (*RECURRENT, "gatedcnn")
OURS = {**{name: name for name in (*RECURRENT, *TWO_STREAMS)}, "gatedcnn": "gated_cnn"}
MASKED = (*RECURRENT, *TWO_STREAMS)
CONFIGS = {
    **{f"{name}-lm": config_of(name) for name in ENCODERS},
    **{f"{name}-mlm": config_of(name, target="mlm") for name in MASKED},
    "lstm-bert": config_of("lstm", target="bert"),
    "bilstm-bert": config_of("bilstm", target="bert"),
    "gru-bias": config_of("gru", has_lmtarget_bias=True),
    "rnn-one-width": config_of("rnn", emb_size=16),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_an_import_has_the_logits_of_uer_pys_modules(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CONFIGS[name]
    state = random_state(config, words)
    source = import_uer(
        write_checkpoint(tmp_path / "theirs", config, state, small_vocab), tmp_path / "in"
    )
    model = loaded_model(plan_of(source.recipe()), source.tensors(), source="imported")
    examples = [torch.arange(5, 25), torch.arange(20, 28)]
    rows = lay_out_rows([examples])
    rows.tensors["pair_positions"] = torch.tensor([0, 20])
    theirs = [logits_of(config, state, ids[None]) for ids in examples]
    expected = torch.cat([one["logits"][0] for one in theirs])
    assert difference(ptm_logits(model, rows), expected) < TOLERANCE
    if "sp" in config["target"]:
        pairs = torch.cat([one["pair_logits"] for one in theirs])
        assert difference(model(rows.tensors)["pair_logits"], pairs) < TOLERANCE


@pytest.mark.parametrize("name", CONFIGS)
def test_an_exported_import_has_the_same_weights_and_config(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    config = CONFIGS[name]
    state = random_state(config, words)
    # UER-py adds a second bias to that of each convolution, which an export sets to zero.
    state = {
        key: 0 * one if "conv_b" in key or "gate_b" in key else one for key, one in state.items()
    }
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    export_to_uer(import_uer(path, tmp_path / "in"), tmp_path / "back")
    assert_same_tensors(read_weights(tmp_path / "back" / "model.bin"), state)
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    assert {key: written.get(key, False) for key in config} == config


def blocks_of(encoder: str, vocab: Path, *, masked: bool = False, **options: Any) -> dict[str, Any]:
    """The blocks of a model of ptm; `masked`: of an MLM, which reads both ways."""
    head = {"type": "mlm"} if masked else {"type": "lm", "head": {"tied": False}}
    both = {"bidirectional": True} if masked and encoder in RECURRENT else {}
    return {
        "tokenizer": {"type": "wordpiece", "vocab": str(vocab)},
        "model": {
            "embedding": {"parts": ["word"], "layer_norm": False, "size": 12},
            "encoder": {
                "type": OURS[encoder],
                "layers": 3,
                "hidden_size": 16,
                "norm_epsilon": 1e-7,
                **both,
                **options,
            },
        },
        "objective": head,
    }


@pytest.mark.parametrize(
    ("encoder", "masked"),
    [*((name, False) for name in ENCODERS), *((name, True) for name in MASKED)],
)
def test_an_export_has_the_logits_of_ptm_and_is_imported_again(
    tmp_path: Path, small_vocab: Path, words: int, encoder: str, masked: bool
) -> None:
    blocks = blocks_of(encoder, small_vocab, masked=masked)
    plan = plan_of(recipe_of(blocks))
    weights = random_weights(plan)
    write_model(tmp_path / "model", blocks, weights)
    command = ["export", str(tmp_path / "model"), str(tmp_path / "uer"), "--to", "uer"]
    assert main(command) == EXIT_DONE
    config = json.loads((tmp_path / "uer" / "config.json").read_text())
    state = read_weights(tmp_path / "uer" / "model.bin")
    ids = torch.arange(5, 25)
    found = ptm_logits(loaded_model(plan, weights, source="random"), lay_out_rows([[ids]]))
    expected = logits_of(config, state, ids[None])["logits"][0]
    assert difference(found, expected) < TOLERANCE
    command = ["import", str(tmp_path / "uer"), str(tmp_path / "back"), "--from", "uer"]
    assert main(command) == EXIT_DONE
    back = open_source(str(tmp_path / "back"))
    assert back.recipe().model.encoder == recipe_of(blocks).model.encoder
    assert_same_tensors(back.tensors(), weights)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_old_config_with_only_sizes_is_completed_from_the_tensors(
    tmp_path: Path, small_vocab: Path, words: int, encoder: str
) -> None:
    """Until 2021 encoder, target and embedding were options of UER-py's command line."""
    config = config_of(encoder)
    sizes = {key: value for key, value in config.items() if type(value) in (int, float)}
    path = write_checkpoint(tmp_path / "old", sizes, random_state(config, words), small_vocab)
    recipe = import_uer(path, tmp_path / "in").recipe()
    assert (recipe.model.encoder.type, recipe.objective.type) == (OURS[encoder], "lm")
    assert not recipe.model.embedding.layer_norm


def test_bidirectional_is_read_from_the_tensors(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = config_of("gru", target="mlm")
    state = random_state(config, words)
    del config["bidirectional"]
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    assert import_uer(path, tmp_path / "in").recipe().model.encoder.visibility == "full"


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (config_of("gatedcnn"), {"block_size": 3}, "block_size = 3 is not supported. Supported: 2."),
    (config_of("gatedcnn", layers_num=4), {}, "layers = 4 is even"),
    (config_of("gatedcnn"), {"kernel_size": None}, "the key 'kernel_size' is missing"),
    (config_of("gatedcnn"), {"kernel_size": 5}, "encoder_00.weight has the shape (32, 48)"),
    (config_of("lstm"), {"encoder": "gru"}, "has the shape (64, 12)"),
    (config_of("lstm"), {"layers_num": 4}, "tensor 'encoder.rnn.weight_ih_l3' is missing"),
    (config_of("lstm"), {"layers_num": 2}, "Unexpected tensors: encoder.rnn.bias_hh_l2"),
    (config_of("lstm", bidirectional=True), {}, "needs model.encoder.visibility: causal"),
    (
        config_of("lstm", target="mlm", bidirectional=False),
        {},
        "needs model.encoder.visibility: full",
    ),
    (config_of("lstm", emb_size=16), {"target": ["mlm"]}, "contradicts the weights"),
    (config_of("lstm", target="mlm"), {"emb_size": 16}, "contradict factorized_embedding"),
    (config_of("lstm"), {"encoder": "dual"}, 'encoder = "dual" is not supported'),
]


@pytest.mark.parametrize(("config", "changes", "sentence"), BAD, ids=[case[2][:40] for case in BAD])
def test_the_import_of_a_config_that_does_not_fit_fails(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    config: dict[str, Any],
    changes: dict[str, Any],
    sentence: str,
) -> None:
    state = random_state(config, words)
    config = {key: v for key, v in {**config, **changes}.items() if v is not None}
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    with pytest.raises(UserError) as caught:
        import_uer(path, tmp_path / "in")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("encoder", "options", "sentence"),
    [
        ("rnn", {"nonlinearity": "relu"}, "model.encoder.nonlinearity = relu"),
        ("lstm", {"bias": False}, "model.encoder.bias = false"),
        ("gatedcnn", {"norm": "rms"}, "model.encoder.norm = rms"),
    ],
)
def test_options_that_uer_py_does_not_have_are_not_exported(
    tmp_path: Path, small_vocab: Path, encoder: str, options: dict[str, Any], sentence: str
) -> None:
    blocks = blocks_of(encoder, small_vocab, **options)
    source = write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    with pytest.raises(UserError, match=sentence):
        export_to_uer(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("encoder", "masked"), [*((name, False) for name in ENCODERS), ("lstm", True)]
)
def test_an_export_to_transformers_names_the_export_to_uer(
    tmp_path: Path,
    small_vocab: Path,
    capsys: pytest.CaptureFixture[str],
    encoder: str,
    masked: bool,
) -> None:
    blocks = blocks_of(encoder, small_vocab, masked=masked)
    write_model(tmp_path / "model", blocks, random_weights(plan_of(recipe_of(blocks))))
    command = ["export", str(tmp_path / "model"), str(tmp_path / "hf"), "--to", "hf"]
    assert main(command) == EXIT_USER
    error = capsys.readouterr().err.strip()
    assert error.endswith("Use --to uer.")
    assert OURS[encoder] in error
    assert "\n" not in error
    assert not (tmp_path / "hf").exists()
