"""The comparison with transformers notices every mistake: in an option, a weight, a row."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from tests.integration.parity.cases import MISTAKES, PLAIN_EXPORTS, encoders, mistakes
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


@pytest.fixture(params=[pytest.param(case, id=str(case)) for case in MISTAKES])
def model(request: pytest.FixtureRequest, exported: BuildExport) -> ExportedModel:
    return exported(request.param)


def nothing(weights: dict[str, Any]) -> None:
    """No mistake."""


def test_without_a_mistake_nothing_is_noticed(model: ExportedModel) -> None:
    blocks = ("embedding", "encoder", "head")
    for right in (mistakes.weights(nothing), *(mistakes.option(block) for block in blocks)):
        assert model.mismatch(right.logits(model)) <= TOLERANCE


@pytest.mark.parametrize(("case", "mistake"), PAIRS)
def test_a_mistake_is_noticed(exported: BuildExport, case: Export, mistake: Mistake) -> None:
    model = exported(case)
    assert model.mismatch(mistake.logits(model)) > NOTICED


def test_a_mistake_in_any_tensor_is_noticed(model: ExportedModel) -> None:
    found: dict[str, float] = {}
    for name, mistake, wrong in mistakes.wrong_tensors(model):
        found[f"{name}: {mistake}"] = model.mismatch(mistakes.logits_with(model, {name: wrong}))
    assert {label.partition(":")[0] for label in found} == model.weights.keys()
    unnoticed = {label: value for label, value in found.items() if value <= NOTICED}
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
            # The norm of the embedding reads small tables; the others read values of about 1.
            patch.setattr(norm, "eps", 1e-6 if name == "embedding.norm" else 1e-3)
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
    model = exported(PLAIN_EXPORTS[encoders.BERT])
    for layer in modules_with(model, "pre_norm").values():
        assert isinstance(layer, nn.Module)
        monkeypatch.setattr(layer, "pre_norm", True)
    assert mismatch(model) > NOTICED
