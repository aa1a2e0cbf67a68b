"""Question answering on two ranks at ZeRO 2 and 3 and in two stages: the numbers of one process.

Exact match and F1 are computed from the windows of all ranks, on an uneven number of questions.
Rows are packed, so that several windows share a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, Training, launched
from tests.support.question_texts import extracting, write_stores

WITHIN = 1e-5
KINDS = {"answered": ("", ()), "no-answer": (", no_answer: true", ("data.packing=true",))}
DEFAULT = ("no-answer",)


def trainings(folder: Path, *engine: str) -> list[Training]:
    return [
        Training(
            kind,
            (
                *extracting(folder / kind, options),
                *(*EXACT, *engine, "optimizer.learning_rate=1.0e-2", *more),
            ),
        )
        for kind, (options, more) in KINDS.items()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("questions")
    for kind in KINDS:
        (made / kind).mkdir()
        write_stores(made / kind, no_answer=kind == "no-answer")
    return made


def launch(
    folder: Path, factory: pytest.TempPathFactory, *engine: str, ranks: int
) -> Iterator[Launch]:
    own = factory.mktemp("extraction")
    with launched(trainings(folder, *engine), ranks=ranks, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(0), ranks=1)


@pytest.fixture(scope="module")
def zero2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(2), ranks=2)


@pytest.fixture(scope="module")
def zero3(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(3), ranks=2)


@pytest.fixture(scope="module")
def stages2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, *stages(2), ranks=2)


def same_as_alone(found: Launch, alone: Launch, kind: str) -> None:
    worst = differences(found.metrics(kind), alone.metrics(kind))
    exact = {"exact_match", "f1", "HasAns_f1", "best_f1"}
    assert {key for key in exact if worst.get(key, 0.0) > 1e-12} == set()
    # A threshold is a difference of logits.
    apart = {key: one for key, one in worst.items() if "thresh" not in key and one > WITHIN}
    assert apart == {}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_learned_and_their_scores_reported(alone: Launch, kind: str) -> None:
    halfway, ended = [one for one in alone.metrics(kind) if one["split"] == "dev"]
    assert ended["extraction_loss"] < halfway["extraction_loss"]
    assert 0 < ended["f1"] <= 1
    assert ended["exact_match"] <= ended["f1"]
    assert ("NoAns_f1" in ended) == (kind == "no-answer")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_zero_2_has_the_losses_and_scores_of_one_process(
    zero2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero2, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, DEFAULT) for kind in KINDS])
def test_zero_3_has_the_losses_and_scores_of_one_process(
    zero3: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero3, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, DEFAULT) for kind in KINDS])
def test_two_stages_have_the_losses_and_scores_of_one_process(
    stages2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(stages2, alone, kind)
