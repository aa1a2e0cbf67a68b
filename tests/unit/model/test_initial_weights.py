"""Initial weights do not depend on how the model is built or on its other parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ptm.model.initial_weights import initialise
from ptm.model.plain_model import empty_model
from ptm.plan import Plan
from ptm.recipe import load_recipe
from ptm.recipe.model_block import ModelBlock
from tests.support.small_models import block_of, mlm_of, plan_of


def first(block: ModelBlock, *, seed: int = 7, plan: Plan | None = None) -> dict[str, Tensor]:
    model = empty_model(plan or plan_of(block))
    initialise(model, block, seed=seed)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_the_same_seed_gives_the_same_weights_independent_of_the_state_of_torch() -> None:
    torch.manual_seed(0)
    one = first(block_of())
    torch.manual_seed(1)
    other = first(block_of())
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_seed_changes_all_weights_except_norms_and_biases() -> None:
    one, other = first(block_of()), first(block_of(), seed=8)
    for name in one:
        fixed = name.endswith("bias") or "norm" in name
        assert torch.equal(one[name], other[name]) is fixed, name


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": 5},
        {"norm_position": "pre"},
        {"heads": 4},
        {"activation": "relu"},
        {"embedding": {"parts": ["word", "position"]}},
        {"embedding": {"parts": ["segment", "position", "word"]}},
    ],
    ids=["deeper", "pre-norm", "heads", "activation", "fewer-parts", "parts-in-another-order"],
)
def test_initial_weights_do_not_depend_on_other_layers_and_parts(changes: dict[str, Any]) -> None:
    one, other = first(block_of()), first(block_of(**changes))
    shared = one.keys() & other.keys()
    assert len(shared) >= len(one) - 1
    assert all(torch.equal(one[name], other[name]) for name in shared)


def test_initial_weights_do_not_depend_on_the_build_order() -> None:
    plan = plan_of(block_of())
    turned = first(block_of(), plan=Plan(tuple(reversed(plan.operations)), outputs=()))
    one = first(block_of())
    assert list(turned) != list(one)
    assert all(torch.equal(one[name], turned[name]) for name in one)


def test_no_two_parameters_have_the_same_initial_weights() -> None:
    weights = {name: w for name, w in first(block_of()).items() if w.dim() == 2}
    starts = {tuple(weight.flatten()[:4].tolist()) for weight in weights.values()}
    assert len(starts) == len(weights)


@pytest.mark.parametrize("std", [0.02, 0.3])
def test_matrices_have_the_standard_deviation_of_the_recipe(std: float) -> None:
    for name, weight in first(block_of(init={"std": std})).items():
        if weight.dim() == 2:
            few = 5 / (2 * weight.numel()) ** 0.5
            assert float(weight.std()) == pytest.approx(std, rel=few), name


def test_embedding_std_applies_to_word_embeddings_only() -> None:
    plain, wide = first(block_of()), first(block_of(init={"embedding_std": 1.0}))
    changed = {name for name in plain if not torch.equal(plain[name], wide[name])}
    assert changed == {"word_embedding.weight"}
    torch.testing.assert_close(wide["word_embedding.weight"], plain["word_embedding.weight"] * 50)


def test_recipes_with_a_scaled_head_have_embedding_std_one_as_in_t5(project: Path) -> None:
    scaled = []
    for path in sorted((project / "recipes").glob("*/*.yaml")):
        recipe = load_recipe(str(path))
        head = getattr(recipe.objective, "head", None)
        if getattr(head, "scaled", False):
            scaled.append(path.stem)
            assert recipe.model.init.embedding_std == 1.0, path
    assert "tiny" in scaled


def test_norm_weights_are_initialised_to_one_and_all_biases_to_zero() -> None:
    weights = first(block_of(norm_position="pre"))
    norms = [name for name in weights if "norm" in name and name.endswith("weight")]
    assert len(norms) == 1 + 2 * 2 + 1 + 1
    assert all((weights[name] == 1).all() for name in norms)
    assert all(not weights[name].any() for name in weights if name.endswith("bias"))


def test_residual_scaling_scales_down_the_last_matrix_of_each_branch() -> None:
    plain = first(block_of(layers=8))
    scaled = first(block_of(layers=8, init={"residual_scaling": True}))
    ends = ("attention.output.weight", "feed_forward.down.weight")
    changed = {name for name in plain if not torch.equal(plain[name], scaled[name])}
    assert changed == {name for name in plain if name.endswith(ends)}
    assert len(changed) == 16
    for name in changed:
        # Two branches in each of eight layers.
        torch.testing.assert_close(scaled[name], plain[name] / 4, rtol=1e-5, atol=1e-9)


def test_a_tied_matrix_is_initialised_like_an_untied_one() -> None:
    tied = first(block_of(), plan=plan_of(block_of(), mlm_of(tied=True)))
    untied = first(block_of(), plan=plan_of(block_of(), mlm_of(tied=False)))
    assert untied.keys() - tied.keys() == {"mlm_unembed.weight"}
    assert torch.equal(tied["word_embedding.weight"], untied["word_embedding.weight"])
    assert not torch.equal(untied["mlm_unembed.weight"], untied["word_embedding.weight"])
