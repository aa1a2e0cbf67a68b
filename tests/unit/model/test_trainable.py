"""Parameters are frozen by patterns of canonical names; rate factors decrease by layer."""

from __future__ import annotations

from typing import Any

import pytest

from ptm.components.optimizers.adamw import AdamW
from ptm.errors import UserError
from ptm.model.build import build_plan, training_plan
from ptm.model.trainable import (
    frozen_parameters,
    hidden_matrices,
    rate_factors,
    untrained_parameters,
)
from ptm.plan import Plan
from ptm.recipe import Recipe, load_recipe
from tests.conftest import PROJECT


@pytest.fixture
def plan() -> Plan:
    """A model of three layers with a tied head."""
    recipe = load_recipe(
        str(PROJECT / "recipes/quickstart/roberta-tiny.yaml"), ["model.encoder.layers=3"]
    )
    return build_plan(recipe.model, recipe.objective, vocabulary_size=100)


def test_patterns_match_whole_canonical_names(plan: Plan) -> None:
    frozen = frozen_parameters(plan, ["embedding*", "encoder_0[01]*"])
    names = plan.parameter_shapes.keys()
    beginnings = ("embedding.", "encoder_00.", "encoder_01.")
    assert frozen == {name for name in names if name.startswith(beginnings)}
    assert frozen
    assert "word_embedding.weight" not in frozen


def test_without_patterns_nothing_is_frozen(plan: Plan) -> None:
    assert frozen_parameters(plan, []) == frozenset()


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [("encodr_00*", "encoder_00"), ("encoder_00.attention.qkv.wieght", "qkv.weight")],
)
def test_a_pattern_without_a_match_is_rejected_with_the_nearest_name(
    plan: Plan, pattern: str, nearest: str
) -> None:
    with pytest.raises(UserError, match=rf'train\.freeze\.1: ".*" matches no .*{nearest}"\?'):
        frozen_parameters(plan, ["word*", pattern])


def test_freezing_all_parameters_is_rejected(plan: Plan) -> None:
    with pytest.raises(UserError, match=r"matches all .* parameters, so nothing would be trained"):
        frozen_parameters(plan, ["*"])


def test_hidden_matrices_are_those_of_the_repeated_layers(plan: Plan) -> None:
    parts = ("attention.qkv", "attention.output", "feed_forward.up", "feed_forward.down")
    expected = {f"encoder_{index:02}.{part}.weight" for index in range(3) for part in parts}
    assert hidden_matrices(plan) == expected


def test_hidden_matrices_are_those_of_encoder_and_decoder_but_no_position_biases() -> None:
    recipe = load_recipe(str(PROJECT / "recipes/t5/tiny.yaml"), ["data.corpus=x", "data.store=x"])
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=100)
    found = hidden_matrices(plan)
    assert {name[:8] for name in found} == {"encoder_", "decoder_"}
    assert "decoder_01.cross_attention.key_value.weight" in found
    assert "encoder_position_bias.weight" in plan.parameter_shapes.keys() - found


def test_layers_that_share_their_weights_are_hidden_matrices_once() -> None:
    recipe = load_recipe(
        str(PROJECT / "recipes/albert/tiny.yaml"), ["data.corpus=x", "data.store=x"]
    )
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=100)
    assert {name.partition(".")[0] for name in hidden_matrices(plan)} == {"encoder_group_00"}


def adamw(**options: Any) -> AdamW:
    return AdamW.model_validate({"type": "adamw", "learning_rate": 1e-3, **options})


def test_the_last_pattern_of_rates_that_matches_counts(plan: Plan) -> None:
    rates = {"*": 2.0, "encoder_00.*": 3.0, "encoder_0?.attention.*": 5.0}
    factors = rate_factors(plan, adamw(rates=rates, layer_decay=0.5))
    assert factors["word_embedding.weight"] == 2.0 * 0.125
    assert factors["encoder_00.feed_forward.up.weight"] == 3.0 * 0.25
    assert factors["encoder_00.attention.qkv.weight"] == 5.0 * 0.25
    assert factors["encoder_02.attention.qkv.weight"] == 5.0
    assert factors["mlm_transform.dense.weight"] == 2.0


def test_a_pattern_of_rates_without_a_match_is_rejected(plan: Plan) -> None:
    with pytest.raises(UserError, match=r'optimizer\.rates: "encodr_00\*" .* "encoder_00"\?'):
        rate_factors(plan, adamw(rates={"word*": 2.0, "encodr_00*": 2.0}))


def test_rate_factors_decrease_from_the_last_layer_to_the_embedding(plan: Plan) -> None:
    factors = rate_factors(plan, adamw(layer_decay=0.5))
    assert factors.keys() == plan.parameter_shapes.keys()
    by_module = {name.partition(".")[0]: factor for name, factor in factors.items()}
    assert by_module == {
        "word_embedding": 0.125,
        "embedding": 0.125,
        "encoder_00": 0.25,
        "encoder_01": 0.5,
        "encoder_02": 1.0,
        "mlm_transform": 1.0,
        "mlm_bias": 1.0,
    }


def adapted(*overrides: str) -> tuple[Plan, Recipe]:
    """A classifier of two layers with LoRA."""
    recipe = load_recipe(
        str(PROJECT / "recipes/quickstart/roberta-tiny.yaml"),
        [
            *("data.layout=labelled", "objective={type: classification, labels: 2}"),
            *("init_from=x", "adapter={type: lora, r: 2}", *overrides),
        ],
    )
    return training_plan(recipe, vocabulary_size=100), recipe


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("word_embedding*", "only matches parameters that are frozen beside the adapter anyway"),
        ("encoder_00.*.weight", "only matches parameters that are frozen beside the adapter"),
        (
            "encoder_00*",
            r"matches parameters of the adapter too \(encoder_00\.attention\.qkv\.lora",
        ),
    ],
)
def test_a_pattern_that_an_adapter_makes_useless_is_rejected(pattern: str, message: str) -> None:
    plan, recipe = adapted(f'train.freeze=["classifier.bias", "{pattern}"]')
    with pytest.raises(UserError, match=rf"^train\.freeze\.1: .*{message}"):
        untrained_parameters(plan, recipe)


def test_a_pattern_of_the_adapter_alone_or_of_the_head_freezes_them() -> None:
    plan, recipe = adapted('train.freeze=["encoder_00*lora*", "classifier*"]')
    frozen = untrained_parameters(plan, recipe)
    assert "encoder_00.attention.qkv.lora.query_A" in frozen
    assert "classifier.weight" in frozen
    assert "encoder_01.attention.qkv.lora.query_A" not in frozen


def test_a_rate_of_frozen_parameters_alone_is_rejected() -> None:
    plan, recipe = adapted('optimizer.rates={"*lora*": 3.0, "word_embedding*": 2.0}')
    frozen = untrained_parameters(plan, recipe)
    with pytest.raises(
        UserError, match=r'optimizer\.rates: "word_embedding\*" only matches frozen'
    ):
        rate_factors(plan, recipe.optimizer, frozen=frozen)
    plan, recipe = adapted('optimizer.rates={"encoder_00*": 3.0}')
    found = rate_factors(plan, recipe.optimizer, frozen=untrained_parameters(plan, recipe))
    assert found["encoder_00.attention.qkv.lora.query_A"] == 3.0


def test_a_decay_of_frozen_parameters_alone_is_rejected(plan: Plan) -> None:
    frozen = frozen_parameters(plan, ["*embedding*", "encoder_0[01]*"])
    with pytest.raises(UserError, match=r"optimizer\.layer_decay = 0\.5 has no effect"):
        rate_factors(plan, adamw(layer_decay=0.5), frozen=frozen)
    rate_factors(plan, adamw(layer_decay=1.0), frozen=frozen)
    rate_factors(plan, adamw(layer_decay=0.5), frozen=frozen_parameters(plan, ["encoder_00*"]))
