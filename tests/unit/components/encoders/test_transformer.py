"""The options of the transformer encoder, and the modules that they give."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from ptm.components.encoders.transformer import Transformer
from ptm.model.plain_model import meta_model, parameter_count
from tests.support.small_models import block_of, plan_of

MODERN: dict[str, Any] = {
    "norm_position": "pre",
    "first_norm": False,
    "feed_forward": "gated",
    "bias": False,
    "rotary": {"theta": 160000, "local_theta": 10000},
    "window": 8,
    "global_every": 3,
}


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"heads": 3}, ("hidden_size = 32", "heads = 3")),
        ({"heads": 32, "rotary": {}}, ("hidden_size = 32", "heads = 32")),
        ({"first_norm": False}, ("first_norm = false", "norm_position: pre")),
        ({"window": 7}, ("window = 7",)),
        ({"global_every": 3}, ("global_every = 3", "window")),
        ({"rotary": {"local_theta": 10.0}}, ("local_theta = 10", "window")),
        ({"layers": 4, "shared_groups": 3}, ("shared_groups = 3", "layers = 4")),
        ({"shared_groups": 1, "window": 4, "global_every": 2}, ("global_every = 2", "groups = 1")),
        (
            {"shared_groups": 1, "first_norm": False, "norm_position": "pre"},
            ("first_norm = false", "shared_groups = 1"),
        ),
        ({"residual_attention": True, "rotary": {}}, ("residual_attention = true", "rotary")),
    ],
    ids=lambda value: str(value)[:40],
)
def test_contradicting_options_are_rejected_with_both_values(
    changes: dict[str, Any], both: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as error:
        block_of(**changes)
    for words in both:
        assert words in str(error.value)


def test_without_biases_only_the_output_layer_has_one() -> None:
    model = meta_model(plan_of(block_of(**MODERN, embedding={"size": 16})))
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert biases == ["mlm_bias.bias"]


def test_all_norms_have_the_same_kind() -> None:
    model = meta_model(plan_of(block_of(norm="rms", norm_position="pre", norm_epsilon=1e-6)))
    norms = {n: m for n, m in model.named_modules() if n.endswith("norm")}
    assert {
        "embedding.norm",
        "encoder_00.attention_norm",
        "encoder_norm",
        "mlm_transform.norm",
    } <= (norms.keys())
    assert {(type(norm).__name__, norm.eps) for norm in norms.values()} == {("RMSNorm", 1e-6)}


def test_only_the_first_layer_may_lack_a_norm() -> None:
    names = {name for name, _ in meta_model(plan_of(block_of(**MODERN))).named_parameters()}
    assert "encoder_00.attention_norm.weight" not in names
    assert {"encoder_00.feed_forward_norm.weight", "encoder_01.attention_norm.weight"} <= names


def test_every_third_layer_is_global_and_the_others_have_a_window() -> None:
    model = meta_model(plan_of(block_of(layers=7, **MODERN)))
    seen = [getattr(model, f"encoder_{index:02}").attention for index in range(7)]
    assert [layer.pattern.window for layer in seen] == [None, 8, 8, None, 8, 8, None]
    assert [layer.theta for layer in seen] == [160000, 10000, 10000, 160000, 10000, 10000, 160000]


def test_a_window_without_global_every_applies_to_all_layers() -> None:
    block = block_of(layers=2, window=4, rotary={"theta": 50.0})
    encoder = block.encoder
    assert isinstance(encoder, Transformer)
    assert [encoder.is_global(index) for index in range(2)] == [False, False]
    attention = meta_model(plan_of(block)).get_submodule("encoder_01.attention")
    assert attention.theta == 50.0


def test_layers_of_a_group_share_one_module() -> None:
    plan = plan_of(block_of(layers=6, shared_groups=3))
    ties = [step.tie for step in plan.operations if step.block]
    assert ties == [f"encoder_group_{group:02}" for group in (0, 0, 1, 1, 2, 2)]
    names = [step.name for step in plan.operations if step.block]
    assert names == [f"encoder_{index:02}" for index in range(6)]


def test_shared_layers_are_counted_once() -> None:
    apart = [parameter_count(plan_of(block_of(layers=layers))) for layers in (1, 2, 4)]
    shared = [parameter_count(plan_of(block_of(layers=4, shared_groups=n))) for n in (1, 2, 4)]
    assert shared == apart


def test_a_gated_layer_has_one_more_matrix() -> None:
    dense, gated = (
        parameter_count(plan_of(block_of(layers=1, bias=False, feed_forward=kind)))
        for kind in ("dense", "gated")
    )
    assert gated - dense == 32 * 64
