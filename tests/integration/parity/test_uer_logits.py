"""Models of UER-py and TencentPretrain have the logits of their own classes after an import.

And their classes have the logits of ptm after an export. The second implementation is in
`tests/support/uer_modules.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptm.interop.uer.export import export_to_uer
from ptm.interop.weights_file import read_weights
from ptm.model.build import build_plan
from tests.support.bert_pairs import random_weights, recipe_of, write_model
from tests.support.causal_pairs import causal_blocks
from tests.support.drawn_uer_models import EQUAL, exported, imported, results
from tests.support.uer_decoder_models import CONFIGS as WITH_DECODER
from tests.support.uer_draws import Draw
from tests.support.uer_encoders import RECURRENT, TWO_STREAMS
from tests.support.uer_models import CONFIGS, NEXT_CONFIGS, import_uer, write_checkpoint
from tests.support.uer_modules import random_state
from tests.support.uer_pairs import TOLERANCE, Example, difference, ptm_logits, uer_logits
from tests.support.uer_recurrent_models import config_of

_T5 = WITH_DECODER["t5"]
_RMS = {
    "remove_embedding_layernorm": True,
    "layernorm_positioning": "pre",
    "layernorm": "t5",
    "remove_transformer_bias": True,
}
ENCODERS: dict[str, dict[str, Any]] = {
    **CONFIGS,
    **NEXT_CONFIGS,
    **{f"{name}-lm": config_of(name) for name in (*RECURRENT, "gatedcnn")},
    **{f"{name}-mlm": config_of(name, target="mlm") for name in (*RECURRENT, *TWO_STREAMS)},
    "lstm-bert": config_of("lstm", target="bert"),
    "lstm-normed": config_of("lstm", remove_embedding_layernorm=False),
    "realformer": {**CONFIGS["mlm"], "has_residual_attention": True},
    "gated": {**CONFIGS["mlm"], "feed_forward": "gated", "attention_head_size": 8},
    "relative": {**CONFIGS["mlm"], "relative_position_embedding": True},
    "pre-norm": {**CONFIGS["bert"], "layernorm_positioning": "pre"},
    "sinusoidal": {**CONFIGS["mlm"], "embedding": ["word", "sinusoidalpos"]},
    "rms-lm": {**NEXT_CONFIGS["gpt2"], **_RMS},
    "rms-biased": {**NEXT_CONFIGS["gpt2"], **_RMS, "remove_transformer_bias": False},
}
ALL: dict[str, dict[str, Any]] = {
    **ENCODERS,
    **WITH_DECODER,
    "t5-scaled": {**_T5, "remove_attention_scale": False, "has_lmtarget_bias": True},
    "t5-two-tables": {**_T5, "share_embedding": False},
    "t5-other-parts": {**_T5, "max_seq_length": 30, "tgt_embedding": ["word", "pos"]},
    "bart-shared-layers": {**WITH_DECODER["bart"], "parameter_sharing": True},
    "bart-segments": {
        **WITH_DECODER["bart"],
        "embedding": ["word", "pos", "seg"],
        "tgt_embedding": ["word", "pos", "seg"],
    },
}
TENCENT = {
    **{name: ALL[name] for name in ("t5", "t5-v1_1", "bart", "relative", "bert")},
    "llama": {
        **NEXT_CONFIGS["gpt2"],
        **_RMS,
        "embedding": ["word"],
        "layernorm": "rms",
        "layernorm_eps": 1e-5,
        "rotary_position_embedding": True,
        "feed_forward": "gated",
        "hidden_act": "silu",
        "local_kv_heads_num": 1,
        "tie_weights": False,
    },
}


def example_of(config: dict[str, Any], words: int) -> Example:
    two = "seg" in config["embedding"] or config.get("mask") == "causal_with_prefix"
    return Example.random(
        words, decodes="decoder" in config, segments=2 if two and config["layers_num"] else 1
    )


def widened(config: dict[str, Any]) -> dict[str, Any]:
    """The config of a transformer with a width at which a norm's epsilon hardly matters."""
    if "heads_num" not in config:
        return config
    size = 64 if config["emb_size"] == config["hidden_size"] else 32
    return {**config, "hidden_size": 64, "emb_size": size, "feedforward_size": 96}


def check_both_ways(
    tmp_path: Path, vocab: Path, words: int, config: dict[str, Any], *, tencent: bool
) -> None:
    """Import what a class saves, compare, export it again, compare."""
    config = widened(config)
    state = random_state(config, words, tencent=tencent)
    example = example_of(config, words)
    theirs = uer_logits(config, state, example, tencent=tencent)
    source = import_uer(write_checkpoint(tmp_path / "t", config, state, vocab), tmp_path / "in")
    ours = ptm_logits(source.recipe(), source.tensors(), example)
    assert difference(ours, theirs) < TOLERANCE
    if "rotary_position_embedding" in config:
        return
    export_to_uer(source, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "config.json").read_text())
    back = read_weights(tmp_path / "out" / "model.bin")
    for other in (False, True):
        assert difference(uer_logits(written, back, example, tencent=other), ours) < TOLERANCE


@pytest.mark.parametrize("name", ALL)
def test_models_of_uer_py(tmp_path: Path, small_vocab: Path, words: int, name: str) -> None:
    check_both_ways(tmp_path, small_vocab, words, ALL[name], tencent=False)


@pytest.mark.parametrize("name", TENCENT)
def test_models_of_tencent_pretrain(
    tmp_path: Path, small_vocab: Path, words: int, name: str
) -> None:
    check_both_ways(tmp_path, small_vocab, words, TENCENT[name], tencent=True)


def export_of(
    tmp_path: Path, blocks: dict[str, Any], words: int
) -> tuple[tuple[str, ...], float, float]:
    """The notes of an export, and how far UER-py's logits are from those of ptm.

    The second distance is with ptm's epsilon in UER-py's norms.
    """
    recipe = recipe_of(blocks)
    size = recipe.tokenizer.load().vocabulary.size
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size, outputs=("logits",))
    source = write_model(tmp_path / "model", blocks, random_weights(plan))
    notes = export_to_uer(source, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    state = read_weights(tmp_path / "out" / "model.bin")
    example = example_of(config, words)
    ours = ptm_logits(source.recipe(), source.tensors(), example)
    epsilon = recipe.model.encoder.norm_epsilon
    return (
        notes,
        difference(uer_logits(config, state, example), ours),
        difference(uer_logits(config, state, example, epsilon=epsilon), ours),
    )


@pytest.mark.parametrize(
    ("family", "tied"), [("gpt2", True), ("gpt2", False), ("openai_gpt", False)]
)
def test_an_output_scale_is_moved_into_the_norm_or_matrix_before_it(
    tmp_path: Path, small_vocab: Path, words: int, family: str, tied: bool
) -> None:
    blocks = causal_blocks(family, small_vocab, tied=tied)
    blocks["objective"]["head"]["scaled"] = True
    assert export_of(tmp_path, blocks, words)[2] < TOLERANCE


def test_another_epsilon_is_reported_with_its_effect(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    blocks = causal_blocks("gpt2", small_vocab, tied=True)
    blocks["model"]["encoder"]["norm_epsilon"] = 1e-5
    notes, theirs, same_epsilon = export_of(tmp_path / "5", blocks, words)
    assert "model.encoder.norm_epsilon = 1e-05 is added to the variance, but UER-py" in notes[0]
    assert theirs > 1e-3
    assert same_epsilon < TOLERANCE
    blocks["model"]["encoder"]["norm_epsilon"] = 1e-7
    assert export_of(tmp_path / "7", blocks, words)[0] == ()


@pytest.mark.parametrize("kind", [exported, imported])
def test_models_drawn_at_random_are_equal_or_rejected(
    kind: Callable[[Draw, Path, Path], str],
) -> None:
    found = Counter(results(kind, seed=3, count=25))
    wrong = [result for result in found if result.startswith("different")]
    assert not wrong
    assert found[EQUAL] >= 5
