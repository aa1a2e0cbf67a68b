"""The distillation loss against a plain second implementation, and its options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ptm.components.objectives.distil import Distil

ROWS, LENGTH, WIDTH, VOCABULARY, PREDICTED = 3, 7, 8, 11, 6
Named = Mapping[str, Tensor]


def distil(**options: Any) -> Distil:
    sources: dict[str, Any] = {} if "teachers" in options else {"teacher": "somewhere"}
    return Distil(type="distil", **sources, **options)


def outputs(seed: int) -> dict[str, Tensor]:
    """Random model outputs, with logits up to about 5."""
    made = torch.Generator().manual_seed(seed)
    return {
        "logits": 2 * torch.randn(PREDICTED, VOCABULARY, generator=made),
        "encoded": torch.randn(ROWS, LENGTH, WIDTH, generator=made),
    }


@pytest.fixture
def batch() -> dict[str, Tensor]:
    """Targets of six positions, the last two of them padding; rows end with padding too."""
    examples = torch.ones(ROWS, LENGTH, dtype=torch.int64)
    examples[:, 5:] = 0
    return {
        "predicted_ids": torch.tensor([1, 4, 10, 0, 0, 0]),
        "predicted_weights": torch.tensor([1, 1, 1, 1, 0, 0]),
        "example_ids": examples,
    }


def softmax(scores: Sequence[float]) -> list[float]:
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def plain(
    student: Named, teachers: Sequence[Named], batch: Named, temperature: float
) -> dict[str, float]:
    """The loss terms computed number by number, as in the papers."""
    soft = mlm = cosine = 0.0
    for at in range(PREDICTED):
        if not batch["predicted_weights"][at]:
            continue
        scores = student["logits"][at].tolist()
        mlm -= math.log(softmax(scores)[int(batch["predicted_ids"][at])])
        mine = softmax([score / temperature for score in scores])
        theirs = [
            softmax([score / temperature for score in teacher["logits"][at].tolist()])
            for teacher in teachers
        ]
        for token in range(VOCABULARY):
            wanted = sum(one[token] for one in theirs) / len(theirs)
            soft += temperature**2 * wanted * (math.log(wanted) - math.log(mine[token]))
    for row in range(ROWS):
        for column in range(LENGTH):
            if not batch["example_ids"][row, column]:
                continue
            mine = student["encoded"][row, column].tolist()
            for teacher in teachers:
                theirs_here = teacher["encoded"][row, column].tolist()
                inner = sum(a * b for a, b in zip(mine, theirs_here, strict=True))
                cosine += (1 - inner / math.hypot(*mine) / math.hypot(*theirs_here)) / len(teachers)
    return {"soft_loss": soft, "mlm_loss": mlm, "cosine_loss": cosine}


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize("count", [1, 3])
def test_the_terms_match_a_plain_implementation(
    batch: dict[str, Tensor], temperature: float, count: int
) -> None:
    objective = distil(temperature=temperature)
    student, teachers = outputs(0), [outputs(seed) for seed in range(1, count + 1)]
    sums = objective.metric_sums(student, batch | objective.teacher_targets(teachers))
    expected = plain(student, teachers, batch, temperature)
    assert {name: float(sums[name]) for name in expected} == pytest.approx(expected, rel=1e-5)


def test_teacher_terms_are_zero_if_the_student_equals_its_teacher(batch: dict[str, Tensor]) -> None:
    objective = distil()
    sums = objective.metric_sums(outputs(1), batch | objective.teacher_targets([outputs(1)]))
    assert float(sums["soft_loss"]) == pytest.approx(0.0, abs=1e-5)
    assert float(sums["cosine_loss"]) == pytest.approx(0.0, abs=1e-5)
    assert float(sums["mlm_loss"]) > 1


def test_padding_does_not_contribute_to_the_loss(batch: dict[str, Tensor]) -> None:
    objective = distil()
    teacher, other = outputs(1), outputs(1)
    other["logits"][4:] += 100 * torch.rand(2, VOCABULARY)
    other["encoded"][:, 5:] *= -1
    found, changed = (
        objective.metric_sums(outputs(0), batch | objective.teacher_targets([one]))
        for one in (teacher, other)
    )
    assert all(torch.equal(found[name], changed[name]) for name in found)


def test_the_gradient_of_softened_outputs_does_not_shrink_with_the_temperature(
    batch: dict[str, Tensor],
) -> None:
    norms = []
    for temperature in (20.0, 40.0):
        objective = distil(temperature=temperature)
        student = outputs(0)
        student["logits"].requires_grad_()
        sums = objective.metric_sums(student, batch | objective.teacher_targets([outputs(1)]))
        sums["soft_loss"].backward()
        assert student["logits"].grad is not None
        norms.append(float(student["logits"].grad.norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


def test_weights_follow_their_schedules() -> None:
    weights = {"soft": {"start": 4.0, "end": 0.0, "steps": 10}, "mlm": 2, "cosine": 1}
    objective = distil(weights=weights)
    soft = [objective.loss_weights(step)["soft_loss"] for step in (0, 5, 10, 1000)]
    assert soft == [4.0, 2.0, 0.0, 0.0]
    assert {objective.loss_weights(step)["mlm_loss"] for step in (0, 5, 1000)} == {2.0}
    assert "mlm_accuracy" not in objective.loss_weights(0)


def test_the_default_weights_are_five_two_and_one() -> None:
    assert distil().loss_weights(0) == {"soft_loss": 5.0, "mlm_loss": 2.0, "cosine_loss": 1.0}


def test_a_term_of_weight_zero_is_not_computed(batch: dict[str, Tensor]) -> None:
    objective = distil(weights={"cosine": 0})
    assert objective.outputs == ("logits",)
    targets = objective.teacher_targets([outputs(1)])
    assert set(targets) == {"teacher_log_probabilities"}
    assert set(objective.metric_sums(outputs(0), batch | targets)) == {
        m.name for m in objective.metrics
    }


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"teachers": ["a"], "teacher": "b"}, "set exactly one of teacher and teachers"),
        ({"teachers": []}, "set exactly one of teacher and teachers"),
        ({"weights": {"soft": 0, "cosine": 0}}, "the teacher has no effect"),
    ],
)
def test_options_without_a_distillation_are_rejected(
    options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence):
        distil(**options)
