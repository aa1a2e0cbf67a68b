"""Checkpoints of UER-py whose tensors and configs contradict each other.

UER-py loads weights loosely and takes options from its command line, so both are common. What
UER-py's classes would compute is imported; anything else is an error that names the option.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.cli import main
from ptm.errors import EXIT_DONE, UserError
from ptm.interop.import_model import import_from_uer
from ptm.interop.sources.open import open_source
from tests.support.uer_decoder_models import CONFIGS as WITH_DECODER
from tests.support.uer_models import CONFIGS, NEXT_CONFIGS, import_uer, write_checkpoint
from tests.support.uer_modules import State, random_state
from tests.support.uer_pairs import TOLERANCE, Example, difference, ptm_logits, uer_logits
from tests.support.uer_recurrent_models import config_of

_RMS = {"layernorm": "t5", "remove_embedding_layernorm": True}
_ALL = {
    "rms": {**NEXT_CONFIGS["gpt2"], **_RMS},
    **CONFIGS,
    **NEXT_CONFIGS,
    **WITH_DECODER,
    "lstm": config_of("lstm", bidirectional=True),
}
_OPTIONS: list[tuple[str, str, Any, str, str]] = [
    (
        "gpt2",
        "layernorm_positioning",
        ...,
        "encoder.layer_norm.beta",
        "--layernorm_positioning pre",
    ),
    (
        "mlm",
        "remove_embedding_layernorm",
        True,
        "embedding.layer_norm.beta",
        "not --remove_embedding_layernorm",
    ),
    ("mlm", "embedding", ["word", "pos"], "embedding.seg.embedding.weight", "--embedding … seg"),
    ("bart", "embedding", ["word"], "embedding.pos.embedding.weight", "--embedding … pos"),
    (
        "bart",
        "tgt_embedding",
        ["word"],
        "tgt_embedding.pos.embedding.weight",
        "--tgt_embedding … pos",
    ),
    ("biased", "has_lmtarget_bias", False, "target.lm.output_layer.bias", "--has_lmtarget_bias"),
    ("bart", "has_lmtarget_bias", ..., "target.lm.output_layer.bias", "--has_lmtarget_bias"),
    ("t5-v1_1", "feed_forward", ..., "feed_forward.linear_gate.weight", "--feed_forward gated"),
    (
        "t5",
        "relative_position_embedding",
        False,
        "decoder.self_pos_emb.relative_attention_bias",
        "--relative_position_embedding",
    ),
    ("rms", "layernorm", ..., "encoder.layer_norm.weight", "--layernorm t5"),
    ("bart", "layernorm", "t5", "layer_norm_1.beta", "--layernorm normal"),
    (
        "bart",
        "remove_transformer_bias",
        True,
        "context_attn.final_linear.bias",
        "not --remove_transformer_bias",
    ),
    (
        "albert",
        "parameter_sharing",
        False,
        "encoder.transformer.feed_forward.linear_1.bias",
        "--parameter_sharing",
    ),
    (
        "mlm",
        "parameter_sharing",
        True,
        "encoder.transformer.0.feed_forward.linear_1.bias",
        "not --parameter_sharing",
    ),
    ("lstm", "bidirectional", False, "encoder.rnn.bias_hh_l0_reverse", "--bidirectional"),
]
"""A config, a key and its wrong value (`...`: left out), a surplus tensor, the option it needs."""


@pytest.mark.parametrize(
    ("name", "key", "value", "tensor", "option"),
    _OPTIONS,
    ids=[f"{case[0]}-{case[1]}" for case in _OPTIONS],
)
def test_a_surplus_tensor_names_the_option_that_is_missing(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    name: str,
    key: str,
    value: Any,
    tensor: str,
    option: str,
) -> None:
    config = _ALL[name]
    state = random_state(config, words)
    more: dict[str, Any] = {}
    if (key, value) in (("layernorm", "t5"), ("remove_transformer_bias", True)):
        # Both are possible only together and without a norm of the embedding.
        more = {**_RMS, "remove_transformer_bias": key == "remove_transformer_bias"}
        state = {
            name: one
            for name, one in state.items()
            if "embedding.layer_norm" not in name
            and (key == "layernorm" or "layer_norm" not in name)
        }
    if name == "albert":
        more = {"layers_num": 1}
    changed = {k: v for k, v in {**config, **more, key: value}.items() if v is not ...}
    with pytest.raises(UserError) as caught:
        import_uer(write_checkpoint(tmp_path / "t", changed, state, small_vocab), tmp_path / "in")
    message = str(caught.value)
    assert tensor in message
    assert f"Set {key} = " in message
    assert option in message
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    ("name", "key", "value", "tensor"),
    [
        ("mlm", "layernorm_positioning", "pre", "encoder.layer_norm.gamma"),
        ("gpt2", "remove_embedding_layernorm", ..., "embedding.layer_norm.gamma"),
        ("gpt2", "embedding", ["word", "pos", "seg"], "embedding.seg.embedding.weight"),
        ("gpt2", "has_lmtarget_bias", True, "target.lm.output_layer.bias"),
    ],
)
def test_a_missing_tensor_names_the_key_that_requires_it(
    tmp_path: Path, small_vocab: Path, words: int, name: str, key: str, value: Any, tensor: str
) -> None:
    config = _ALL[name]
    changed = {k: v for k, v in {**config, key: value}.items() if v is not ...}
    path = write_checkpoint(tmp_path / "t", changed, random_state(config, words), small_vocab)
    with pytest.raises(UserError, match=rf"'{tensor}' is missing; the config, which has .*{key}"):
        import_uer(path, tmp_path / "in")


@pytest.mark.parametrize("name", ["t5", "bart", "pegasus"])
def test_the_output_of_an_encoder_decoder_is_not_the_shared_table(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    """UER-py ties the output to the decoder's table, and then replaces that by the encoder's."""
    config = WITH_DECODER[name]
    state = random_state(config, words)
    assert config["tie_weights"]
    assert not torch.equal(
        state["target.lm.output_layer.weight"], state["embedding.word.embedding.weight"]
    )
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    source = import_uer(path, tmp_path / "in")
    assert not source.recipe_data()["objective"]["head"]["tied"]
    # Its converters write three equal matrices.
    state["target.lm.output_layer.weight"] = state["embedding.word.embedding.weight"]
    path = write_checkpoint(tmp_path / "tied", config, state, small_vocab)
    assert import_uer(path, tmp_path / "out").recipe_data()["objective"]["head"]["tied"]


def test_the_later_of_two_shared_tables_is_imported_with_a_note(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = WITH_DECODER["t5"]
    state = random_state(config, words)
    name = "tgt_embedding.word.embedding.weight"
    state[name] = state[name].flip(0)
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    assert main(["import", str(path), str(tmp_path / "in"), "--from", "uer"]) == EXIT_DONE
    assert f"embedding.word.embedding.weight differs from {name}" in capsys.readouterr().out
    example = Example.random(words, decodes=True)
    source = open_source(str(tmp_path / "in"))
    ours = ptm_logits(source.recipe(), source.tensors(), example)
    assert difference(ours, uer_logits(config, state, example)) < TOLERANCE


def test_tables_of_layers_that_differ_are_an_error(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = {**WITH_DECODER["t5"], "layers_num": 2}
    state = random_state(config, words, tencent=True)
    name = "encoder.transformer.1.relative_pos_emb.relative_attention_bias.weight"
    state[name] = state[name] + 1
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    with pytest.raises(UserError, match=f"{name} differs from"):
        import_uer(path, tmp_path / "in")


def _with_classes(state: State) -> State:
    width = state["encoder.transformer.0.layer_norm_1.beta"].shape[0]
    shapes = {"linear_1.weight": (width, width), "linear_1.bias": (width,)}
    return state | {f"target.cls.{name}": torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "change", [_with_classes, lambda s: s | {"target.clr.scale": torch.ones(1)}]
)
def test_heads_of_other_targets_are_left_out_and_listed(
    tmp_path: Path, small_vocab: Path, words: int, change: Callable[[State], State]
) -> None:
    config = CONFIGS["mlm"]
    state = change(random_state(config, words))
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    imported = import_from_uer(str(path), tmp_path / "in", config=None, vocab=None)
    assert set(imported.left_out) == state.keys() - random_state(config, words).keys()


def test_a_translation_model_needs_its_target_vocabulary(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = WITH_DECODER["translation"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    named = path.with_name("target_tokenizer") / "vocab.txt"
    moved = named.rename(tmp_path / "target.txt")
    command = ["import", str(path), str(tmp_path / "in"), "--from", "uer"]
    assert main(command) != EXIT_DONE
    assert "target_tokenizer.vocab=FILE" in capsys.readouterr().err
    assert main([*command, f"target_tokenizer.vocab={moved}"]) == EXIT_DONE
    assert main(["export", str(tmp_path / "in"), str(tmp_path / "out"), "--to", "uer"]) == EXIT_DONE
    assert (tmp_path / "out" / "target_tokenizer" / "vocab.txt").read_text() == moved.read_text()


def test_the_padding_id_of_sinusoidal_positions_is_checked(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    """UER-py zeroes the row of the padding id, which from 2 on is a position in use."""
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    vocab = tmp_path / "vocab.txt"
    order = [tokens.index(name) for name in ("[UNK]", "[CLS]", "[PAD]")]
    rest = [token for index, token in enumerate(tokens) if index not in order]
    vocab.write_text("\n".join([*(tokens[index] for index in order), *rest]) + "\n")
    config = WITH_DECODER["pegasus"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), vocab)
    with pytest.raises(UserError, match="the padding token has the id 2"):
        import_uer(path, tmp_path / "in")
