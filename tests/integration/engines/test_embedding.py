"""Embeddings on two ranks, at ZeRO 2 and 3 and in two stages, report the numbers of one process.

The negatives of a step are all texts of its global batch, whatever ranks and micro-batches it is
divided into. The scores are those of the whole set.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.engines.comparing import differences
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, Training, launched
from tests.support.text_groups import LOSSES, embedding, write_corpora

WITHIN = 1e-5
MORE = ("optimizer.learning_rate=3.0e-3", "train.global_batch_size=16")
TOGETHER, ACCUMULATED = ("train.micro_batch_size=8",), ("train.micro_batch_size=2",)
PACKED = "data.packing=true"
KINDS = {
    "pairs": ("pairs", ", matryoshka: [16, 8]", ACCUMULATED),
    "triplets": ("triplets", ", pooling: max, normalize: true", (*TOGETHER, PACKED)),
    "scored": ("scored", ", matryoshka: [8]", ACCUMULATED),
    "classes": ("classes", ", pooling: first", (*TOGETHER, PACKED)),
}
AT_ZERO3, IN_STAGES = ("pairs", "triplets"), ("classes",)
STAGED = [kind for kind in KINDS if LOSSES[KINDS[kind][0]][0] == "labelled"]


def trainings(folder: Path, *engine: str, kinds: list[str]) -> list[Training]:
    return [
        Training(kind, (*embedding(folder, corpus, options), *EXACT, *MORE, *more, *engine))
        for kind, (corpus, options, more) in KINDS.items()
        if kind in kinds
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    for kind in KINDS:
        write_corpora(made, KINDS[kind][0])
    return made


def launch(
    folder: Path,
    factory: pytest.TempPathFactory,
    *engine: str,
    ranks: int,
    kinds: list[str] | None = None,
) -> Iterator[Launch]:
    own = factory.mktemp("embedding")
    some = trainings(folder, *engine, kinds=list(KINDS) if kinds is None else kinds)
    with launched(some, ranks=ranks, store=folder, folder=own) as found:
        yield found


@pytest.fixture(scope="module")
def alone(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """One process, one micro-batch per step."""
    yield from launch(folder, tmp_path_factory, zero(0), "train.micro_batch_size=16", ranks=1)


@pytest.fixture(scope="module")
def zero2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(2), ranks=2)


@pytest.fixture(scope="module")
def zero3(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, zero(3), ranks=2)


@pytest.fixture(scope="module")
def stages2(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    yield from launch(folder, tmp_path_factory, *stages(2), ranks=2, kinds=STAGED)


def same_as_alone(found: Launch, alone: Launch, kind: str) -> None:
    worst = differences(found.metrics(kind), alone.metrics(kind))
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls_and_scores_are_reported(alone: Launch, kind: str) -> None:
    halfway, ended = [one for one in alone.metrics(kind) if one["split"] == "dev"]
    assert ended["embedding_loss"] < halfway["embedding_loss"]
    assert "perplexity" not in ended
    scores = {"pairs": "recall@10_8", "triplets": "ndcg@10", "scored": "spearman_8"}
    assert kind not in scores or 0 < ended[scores[kind]] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_zero_2_has_the_losses_and_scores_of_one_process(
    zero2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero2, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, AT_ZERO3) for kind in KINDS])
def test_zero_3_has_the_losses_and_scores_of_one_process(
    zero3: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(zero3, alone, kind)


@pytest.mark.parametrize("kind", [by_default(kind, IN_STAGES) for kind in STAGED])
def test_two_stages_have_the_losses_and_scores_of_one_process(
    stages2: Launch, alone: Launch, kind: str
) -> None:
    same_as_alone(stages2, alone, kind)
