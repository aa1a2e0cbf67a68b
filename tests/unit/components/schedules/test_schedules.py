"""Every schedule equals that of transformers, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from transformers import optimization

from ptm.components.schedules import AnySchedule, Schedule

RATE, STEPS = 0.3, 60
MakeTheirs = Callable[..., Any]


def schedule(**options: Any) -> Schedule:
    found: Schedule = TypeAdapter(AnySchedule).validate_python(options)
    return found


def their_rates(make: MakeTheirs, **options: Any) -> list[float]:
    """The learning rate of each update, as in transformers' Trainer."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)
    theirs, rates = make(optimizer, **options), []
    for _ in range(STEPS + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    return rates


def our_rates(**options: Any) -> list[float]:
    mine = schedule(**options)
    return [RATE * mine.factor(step, STEPS) for step in range(STEPS + 1)]


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (7.0, 7), (0.25, 15)])
@pytest.mark.parametrize("timescale", [None, 3, 40])
def test_inverse_sqrt_equals_transformers(warmup: float, steps: int, timescale: int | None) -> None:
    theirs = their_rates(
        optimization.get_inverse_sqrt_schedule, num_warmup_steps=steps, timescale=timescale
    )
    mine = our_rates(type="inverse_sqrt", warmup=warmup, timescale=timescale)
    assert mine == pytest.approx(theirs, rel=1e-12)


def test_inverse_sqrt_equals_the_formula_of_the_paper() -> None:
    mine = schedule(type="inverse_sqrt", warmup=8.0)
    paper = [min(step / 8, (8 / max(step, 1)) ** 0.5) for step in range(STEPS)]
    assert [mine.factor(step, STEPS) for step in range(STEPS)] == pytest.approx(paper)


@pytest.mark.parametrize(("warmup", "steps"), [(0.0, 0), (7.0, 7)])
@pytest.mark.parametrize(("power", "floor"), [(1.0, 0.0), (2.0, 0.1), (0.5, 0.0)])
def test_polynomial_equals_transformers(
    warmup: float, steps: int, power: float, floor: float
) -> None:
    theirs = their_rates(
        optimization.get_polynomial_decay_schedule_with_warmup,
        num_warmup_steps=steps,
        num_training_steps=STEPS,
        lr_end=floor * RATE,
        power=power,
    )
    mine = our_rates(type="polynomial", warmup=warmup, power=power, floor=floor)
    assert mine == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("shape", ["linear", "cosine", "sqrt"])
@pytest.mark.parametrize(("decay", "decay_steps"), [(0.2, 12), (9.0, 9), (1.0, 1)])
@pytest.mark.parametrize(
    ("warmup", "warmup_steps", "floor"), [(0.0, 0, 0.0), (0.0, 0, 0.1), (6.0, 6, 0.0)]
)
def test_wsd_equals_transformers(
    shape: str, decay: float, decay_steps: int, warmup: float, warmup_steps: int, floor: float
) -> None:
    theirs = their_rates(
        optimization.get_wsd_schedule,
        num_warmup_steps=warmup_steps,
        num_decay_steps=decay_steps,
        num_training_steps=STEPS,
        decay_type="1-sqrt" if shape == "sqrt" else shape,
        min_lr_ratio=floor,
    )
    mine = our_rates(type="wsd", warmup=warmup, decay=decay, shape=shape, floor=floor)
    assert mine == pytest.approx(theirs, rel=1e-12, abs=1e-17)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("warmup", [0, 6])
def test_linear_and_cosine_equal_transformers(kind: str, warmup: int) -> None:
    make = getattr(optimization, f"get_{kind}_schedule_with_warmup")
    theirs = their_rates(make, num_warmup_steps=warmup, num_training_steps=STEPS)
    assert our_rates(type=kind, warmup=float(warmup)) == pytest.approx(theirs, rel=1e-12, abs=1e-17)


def test_constant_equals_transformers() -> None:
    theirs = their_rates(optimization.get_constant_schedule_with_warmup, num_warmup_steps=6)
    assert our_rates(type="constant", warmup=6.0) == pytest.approx(theirs)


def test_a_decay_shorter_than_a_step_is_one_step() -> None:
    mine = schedule(type="wsd", decay=0.001, floor=0.5)
    assert (mine.factor(STEPS - 1, STEPS), mine.factor(STEPS, STEPS)) == (1.0, 0.5)


def test_a_fractional_number_of_decay_steps_is_rejected() -> None:
    with pytest.raises(ValidationError, match=r"2\.5 is neither a share .* nor a whole number"):
        schedule(type="wsd", decay=2.5)
