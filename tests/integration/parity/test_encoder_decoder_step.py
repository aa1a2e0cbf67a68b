"""A training step of an encoder-decoder is equal to that of transformers' model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ptm.model.build import build_plan
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases.encoder_decoders import BART, PEGASUS, T5
from tests.integration.parity.cases.inputs import TwoSided
from tests.integration.parity.cases.models import Export, ExportedModel
from tests.integration.parity.conftest import BuildExport
from tests.support.two_sided import CASES

RELATIVE = 1e-4
"""Relative tolerance; about 1e-6 is measured."""
_OPTIONS: dict[str, Any] = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-8, "weight_decay": 0.1}
_NO_DROPOUT = {"model": {"dropout": 0.0}}
EXPORTS = [
    Export(T5, "no_dropout", _NO_DROPOUT),
    Export(T5, "1.1-no_dropout", _NO_DROPOUT, CASES["t5-1.1"].blocks),
    Export(BART, "no_dropout", _NO_DROPOUT),
    Export(PEGASUS, "no_dropout", _NO_DROPOUT),
]


@dataclass(frozen=True)
class Step:
    """The loss before and after an optimizer step, and the gradient norm before clipping."""

    before: float
    grad_norm: float
    after: float


def labels_of(inputs: TwoSided) -> tuple[Tensor, ...]:
    """An arbitrary label for each target token."""
    return tuple((target * 7 + 3) % 90 for target in inputs.targets)


def ptm_loss(model: nn.Module, inputs: TwoSided) -> Tensor:
    """The loss of ptm's training head, with two examples per row."""
    labels = TwoSided(inputs.sources, labels_of(inputs)).packed["decoder_input_ids"]
    rows = inputs.packed
    weights = (rows["decoder_example_ids"] > 0).long()
    outputs = model({**rows, "target_ids": labels, "target_weights": weights})
    loss: Tensor = outputs["lm_sums"][0] / weights.sum()
    return loss


def hf_loss(model: nn.Module, inputs: TwoSided) -> Tensor:
    """The mean loss over all tokens, one example at a time."""
    losses = [
        model(input_ids=source[None], decoder_input_ids=target[None], labels=labels[None]).loss
        * len(labels)
        for source, target, labels in zip(
            inputs.sources, inputs.targets, labels_of(inputs), strict=True
        )
    ]
    return torch.stack(losses).sum() / sum(map(len, inputs.targets))


def step_of(exported: ExportedModel, *, of_ptm: bool) -> Step:
    recipe, inputs = exported.recipe, exported.inputs
    assert isinstance(inputs, TwoSided)
    if of_ptm:
        size = recipe.tokenizer.load().vocabulary.size
        plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
        model: nn.Module = loaded_model(plan, exported.weights, source="random").train()
        for name, parameter in model.named_parameters():
            # In transformers the output bias is a buffer, which is not trained.
            parameter.requires_grad_(name != "lm_bias.bias")
    else:
        model = type(exported.theirs).from_pretrained(exported.folder).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, **_OPTIONS)

    def loss() -> Tensor:
        return ptm_loss(model, inputs) if of_ptm else hf_loss(model, inputs)

    before = loss()
    before.backward()
    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return Step(float(before.detach()), float(norm), float(loss().detach()))


@pytest.mark.parametrize("case", EXPORTS, ids=str)
def test_the_loss_the_gradient_and_the_next_loss_are_the_same(
    exported: BuildExport, case: Export
) -> None:
    model = exported(case)
    ours, theirs = step_of(model, of_ptm=True), step_of(model, of_ptm=False)
    assert ours.before == pytest.approx(theirs.before, rel=RELATIVE)
    assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=RELATIVE)
    assert ours.after == pytest.approx(theirs.after, rel=RELATIVE)
    assert ours.grad_norm > 1.0, "the gradient is clipped"
    assert ours.after < ours.before - 100 * RELATIVE, "the step changes the loss"
