"""Tagging on two ranks at ZeRO 3 and in two stages reports the numbers of one process.

Also the entity scores, which are computed from the predictions of all ranks, on an uneven number of
sentences that are split into windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, Training, launched
from tests.support.tagged_texts import tagging, write_stores

WITHIN = 1e-5
KINDS = {
    "softmax": (", constrained_decoding: true", ()),
    "crf": (", crf: true", ("data.sequence_length=16", "data.packing=true")),
}
AT_ZERO3, IN_STAGES = ("crf",), ("crf", "softmax")


def trainings(folder: Path, *engine: str) -> list[Training]:
    return [
        Training(
            kind,
            (*tagging(folder, options), *EXACT, *engine, "optimizer.learning_rate=2.0e-2", *more),
        )
        for kind, (options, more) in KINDS.items()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tagged")
    write_stores(made)
    return made


def launch(
    folder: Path, factory: pytest.TempPathFactory, *engine: str, ranks: int
) -> Iterator[Launch]:
    own = factory.mktemp("tagging")
    with launched(trainings(folder, *engine), ranks=ranks, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(0), ranks=1)


@pytest.fixture(scope="module")
def zero3(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(3), ranks=2)


@pytest.fixture(scope="module")
def stages2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, *stages(2), ranks=2)


def same_as_alone(found: Launch, alone: Launch, kind: str) -> None:
    worst = differences(found.metrics(kind), alone.metrics(kind))
    exact = {"entity_f1", "entity_precision", "entity_recall"}
    assert {key for key in exact if worst.get(key, 0.0) > 1e-12} == set()
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_tags_are_learned_and_their_scores_reported(alone: Launch, kind: str) -> None:
    halfway, ended = [one for one in alone.metrics(kind) if one["split"] == "dev"]
    assert ended["tagging_loss"] < halfway["tagging_loss"]
    assert 0 < ended["entity_f1"] <= 1
    assert "perplexity" not in ended


@pytest.mark.parametrize("kind", [by_default(kind, AT_ZERO3) for kind in KINDS])
def test_zero_3_has_the_losses_and_scores_of_one_process(
    zero3: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero3, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, IN_STAGES) for kind in KINDS])
def test_two_stages_have_the_losses_and_scores_of_one_process(
    stages2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(stages2, alone, kind)
