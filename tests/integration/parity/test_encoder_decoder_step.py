"""A step of training an encoder-decoder is the step that transformers' own model takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ptm.model.build import PlainModel, build_plan
from ptm.model.loaded import loaded_model
from tests.support.bert_pairs import recipe_of
from tests.support.two_sided import CASES, Sides, TwoSided, exported_pair

APART = 1e-4
"""Relative; about 1e-6 is measured."""
_OPTIONS = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.1}


@dataclass(frozen=True)
class Step:
    """The loss before a step and after it, and the norm of the gradient."""

    before: float
    grad_norm: float
    after: float


@pytest.fixture(scope="module", params=["t5", "t5-1.1", "bart", "pegasus"])
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, small_vocab: Path
) -> TwoSided:
    blocks = CASES[request.param].blocks(small_vocab)
    blocks["model"]["dropout"] = 0.0
    return exported_pair(tmp_path_factory.mktemp("pair"), blocks)


def targets_of(sides: Sides) -> tuple[Tensor, ...]:
    """What each target token is to be followed by: any token will do."""
    return tuple((target * 7 + 3) % 90 for target in sides.targets)


def our_loss(model: PlainModel, sides: Sides) -> Tensor:
    """Through the head that training has, two examples a row."""
    given = Sides(sides.sources, targets_of(sides)).packed["decoder_input_ids"]
    rows = sides.packed
    weights = (rows["decoder_example_ids"] > 0).long()
    outputs = model({**rows, "target_ids": given, "target_weights": weights})
    return outputs["loss_sum"] / weights.sum()


def their_loss(model: nn.Module, sides: Sides) -> Tensor:
    """Every example by itself, the mean over all tokens."""
    losses = [
        model(input_ids=source[None], decoder_input_ids=target[None], labels=given[None]).loss
        * len(given)
        for source, target, given in zip(
            sides.sources, sides.targets, targets_of(sides), strict=True
        )
    ]
    return torch.stack(losses).sum() / sum(map(len, sides.targets))


def step_of(pair: TwoSided, *, ours: bool) -> Step:
    recipe = recipe_of(pair.blocks)
    if ours:
        size = recipe.tokenizer.load().vocabulary.size
        plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
        model: nn.Module = loaded_model(plan, pair.weights, source="random").train()
        for name, parameter in model.named_parameters():
            # There it is a buffer, which never learns.
            parameter.requires_grad_(name != "lm_bias.bias")
    else:
        model = type(pair.theirs).from_pretrained(pair.folder).train()
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, **_OPTIONS)

    def loss() -> Tensor:
        return our_loss(model, pair.sides) if ours else their_loss(model, pair.sides)

    before = loss()
    before.backward()
    norm = torch.nn.utils.clip_grad_norm_(learnt, 1.0)
    optimizer.step()
    return Step(float(before.detach()), float(norm), float(loss().detach()))


def test_the_loss_the_gradient_and_the_next_loss_are_the_same(pair: TwoSided) -> None:
    ours, theirs = step_of(pair, ours=True), step_of(pair, ours=False)
    assert ours.before == pytest.approx(theirs.before, rel=APART)
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=APART)
    assert ours.after == pytest.approx(theirs.after, rel=APART)
    assert ours.grad_norm > 1.0, "it is clipped"
    assert ours.after < ours.before - 100 * APART, "the step is seen"
