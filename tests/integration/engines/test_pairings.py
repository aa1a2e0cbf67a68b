"""Random pairings of embedding parts, encoders and objectives train, or are rejected with a reason.

A rejection comes from validation, before anything is read. What validation accepts trains on one
process, on two ranks at ZeRO 3 and in two stages, with equal losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import pytest
import yaml

from ptm.errors import UserError
from ptm.recipe import Recipe, recipe_from_data
from tests.integration.engines.comparing import differences
from tests.integration.engines.tiny_recipes import Files, Tiny
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, launched
from tests.support.pairings import described, draw, encoders, objectives

DRAWS = range(90)
WITHIN = 1e-5


@cache
def rejection(seed: int) -> str | None:
    """The message of the rejection of a draw; None if it is valid."""
    try:
        recipe_from_data(draw(seed), Recipe, name=f"draw {seed}")
    except UserError as error:
        return str(error)
    return None


ACCEPTED = [seed for seed in DRAWS if rejection(seed) is None]
FEW = ACCEPTED[:6]
IN_STAGES = [
    seed
    for seed in ACCEPTED
    if recipe_from_data(draw(seed), Recipe, name="").objective.pipeline_obstacle is None
]


@pytest.mark.parametrize("seed", [seed for seed in DRAWS if seed not in ACCEPTED])
def test_a_rejection_names_the_key_and_the_values_that_are_allowed(seed: int) -> None:
    message = rejection(seed)
    assert message is not None
    keys = ("objective", "model.", "data.")
    for line in message.splitlines():
        assert any(f": {key}" in line for key in keys), line
        assert line.endswith("."), line


def test_every_component_is_drawn_and_every_encoder_trained() -> None:
    drawn = [draw(seed) for seed in DRAWS]
    assert {one["objective"]["type"] for one in drawn} == set(objectives())
    trained = {draw(seed)["model"]["encoder"]["type"] for seed in ACCEPTED}
    assert trained == set(encoders())


def trainings(files: Files, seeds: list[int], *engine: str) -> list[Tiny]:
    """Return trainings of draws under one engine."""
    made = []
    for seed in seeds:
        path = files.folder / f"pairing-{seed:02}.yaml"
        path.write_text(yaml.safe_dump(draw(seed), sort_keys=False), encoding="utf-8")
        made.append(Tiny(f"pairing-{seed:02}", (*EXACT, *engine), recipe=path, files=files))
    return made


def parts(files: Files, *engine: str, seeds: list[int] = ACCEPTED) -> tuple[list[Tiny], list[Tiny]]:
    """Return the trainings that run by default, and those of slow tests."""
    first, rest = (
        [seed for seed in seeds if seed in FEW],
        [seed for seed in seeds if seed not in FEW],
    )
    return trainings(files, first, *engine), trainings(files, rest, *engine)


@pytest.fixture(scope="session")
def alone(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("pairings-alone")
    with launched(*parts(files, zero(0)), ranks=1, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def zero3(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("pairings-zero3")
    with launched(*parts(files, zero(3)), ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def stages2(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("pairings-stages2")
    some = parts(files, *stages(2), seeds=IN_STAGES)
    with launched(*some, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


def same_as_alone(launch: Launch, alone: Launch, seed: int) -> None:
    name = f"pairing-{seed:02}"
    worst = differences(launch.metrics(name), alone.metrics(name))
    assert {key: far for key, far in worst.items() if far > WITHIN} == {}, described(draw(seed))


@pytest.mark.parametrize("seed", [by_default(seed, FEW) for seed in ACCEPTED])
def test_an_accepted_pairing_trains(alone: Launch, seed: int) -> None:
    reports = [one for one in alone.metrics(f"pairing-{seed:02}") if one["split"] == "train"]
    assert len(reports) == 8
    assert all(math.isfinite(one["loss"]) and one["grad_norm"] > 0 for one in reports)
    assert reports[-1]["loss"] != reports[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", ACCEPTED)
def test_zero_3_has_the_losses_of_one_process(zero3: Launch, alone: Launch, seed: int) -> None:
    same_as_alone(zero3, alone, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", IN_STAGES)
def test_two_stages_have_the_losses_of_one_process(
    stages2: Launch, alone: Launch, seed: int
) -> None:
    same_as_alone(stages2, alone, seed)
