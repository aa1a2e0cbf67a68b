"""The comparison with transformers detects deliberate mistakes in options, weights and rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from torch import nn

from tests.integration.parity.cases import (
    MISTAKES,
    PLAIN_EXPORTS,
    bert,
    encoder_decoders,
    mistakes,
    params,
)
from tests.integration.parity.cases.mistakes import Mistake
from tests.integration.parity.cases.models import Export, ExportedModel
from tests.integration.parity.conftest import BuildExport
from tests.support.bert_pairs import TOLERANCE

NOTICED = 2 * TOLERANCE
PAIRS = [
    pytest.param(case, mistake, id=f"{case}-{mistake}")
    for case, of_case in MISTAKES.items()
    for mistake in of_case
]


# These cases differ from others only in an option, not in their tensors.
VARIANTS = ("t5-unscaled", "bart-scaled")


@pytest.fixture(
    params=params(
        (case for case in MISTAKES if str(case) not in VARIANTS),
        slow=(case for case in MISTAKES if str(case) in VARIANTS),
    )
)
def model(request: pytest.FixtureRequest, exported: BuildExport) -> ExportedModel:
    return exported(request.param)


def nothing(weights: dict[str, Any]) -> None:
    """Leave the weights as they are."""


@pytest.mark.parametrize("case", MISTAKES, ids=str)
def test_without_a_mistake_the_logits_are_the_same(exported: BuildExport, case: Export) -> None:
    model = exported(case)
    blocks = ("embedding", "encoder", "head")
    for right in (mistakes.weights(nothing), *(mistakes.option(block) for block in blocks)):
        assert model.mismatch(right.logits(model)) <= TOLERANCE


@pytest.mark.parametrize(("case", "mistake"), PAIRS)
def test_a_mistake_is_noticed(exported: BuildExport, case: Export, mistake: Mistake) -> None:
    model = exported(case)
    assert model.mismatch(mistake.logits(model)) > NOTICED


LAYER = re.compile(r"(encoder|decoder)_(?:group_)?(\d+)\.")


def is_between(name: str, names: Iterable[str]) -> bool:
    """Whether a tensor is in a layer that is neither the first nor the last of its stack."""
    found = LAYER.match(name)
    if found is None:
        return False
    matches = [other for other in map(LAYER.match, names) if other]
    last = max(int(other[2]) for other in matches if other[1] == found[1])
    return int(found[2]) not in (0, last)


@pytest.mark.parametrize(
    "layers", ["first_and_last", pytest.param("between", marks=pytest.mark.slow)]
)
def test_a_mistake_in_any_tensor_is_noticed(model: ExportedModel, layers: str) -> None:
    chosen = {
        name for name in model.weights if is_between(name, model.weights) == (layers == "between")
    }
    found: dict[str, dict[str, float]] = {name: {} for name in chosen}
    for name, mistake, wrong in mistakes.wrong_tensors(model):
        if name in chosen:
            changed = mistakes.logits_with(model, {name: wrong})
            found[name][mistake] = model.mismatch(changed)
    assert all(found.values()), "each tensor has a mistake"
    unnoticed = [
        f"{name}: {mistake}"
        for name, by_mistake in found.items()
        for mistake, value in by_mistake.items()
        if value <= NOTICED
    ]
    assert not unnoticed


def modules_with(model: ExportedModel, attribute: str) -> dict[str, Any]:
    return {n: m for n, m in model.ours.named_modules() if hasattr(m, attribute)}


def mismatch(model: ExportedModel) -> float:
    return model.mismatch(model.inputs.ptm_logits(model.ours, model.inputs.packed))


def test_another_epsilon_in_any_norm_is_noticed(
    model: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = modules_with(model, "eps")
    assert norms.keys() == {
        name.rpartition(".")[0] for name in model.weights if "norm.weight" in name
    }
    for name, norm in norms.items():
        with monkeypatch.context() as patch:
            # The embedding's norm has small inputs, others inputs of about 1, PEGASUS's larger.
            usual = 0.1 if model.case.family is encoder_decoders.PEGASUS else 1e-3
            patch.setattr(norm, "eps", 1e-6 if name == "embedding.norm" else usual)
            assert mismatch(model) > TOLERANCE, name
    assert mismatch(model) <= TOLERANCE


def test_another_activation_in_any_module_is_noticed(
    model: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = modules_with(model, "activation")
    assert modules
    for name, module in modules.items():
        with monkeypatch.context() as patch:
            patch.setattr(
                module, "activation", "gelu_tanh" if module.activation == "gelu" else "gelu"
            )
            assert mismatch(model) > TOLERANCE, name
    assert mismatch(model) <= TOLERANCE


def test_norms_before_the_branches_of_a_bert_are_noticed(
    exported: BuildExport, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = exported(PLAIN_EXPORTS[bert.BERT])
    for layer in modules_with(model, "pre_norm").values():
        assert isinstance(layer, nn.Module)
        monkeypatch.setattr(layer, "pre_norm", True)
    assert mismatch(model) > NOTICED
