"""Every tiny recipe has the same loss on one process, on two ranks at ZeRO 3 and in two stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ptm.recipe import load_recipe
from ptm.train.samples.record import read_samples
from tests.integration.engines.comparing import differences
from tests.integration.engines.tiny_recipes import Files, Tiny
from tests.integration.engines.trainings import EXACT, stages, zero
from tests.support.covers import by_default
from tests.support.launched import Launch, launched
from tests.support.small_runs import PROJECT

WITHIN = 1e-5
TEACHER = "roberta-tiny"
SAMPLED = ("albert-tiny", "bert-tiny", "t5-tiny")
"""Trainings with sample predictions: each token that a model writes is a forward pass."""
RECIPES = {
    f"{path.parent.name}-{path.stem}": path
    for path in sorted((PROJECT / "recipes").glob("*/tiny*.yaml"))
    if path.parent.name != "quickstart"
}
# Recipes with the plan of another recipe, or that differ in masking only.
_LIKE_OTHERS = (
    *("bert-wwm", "spanbert", "ernie", "xlm-roberta", "gpt-", "t5-v1.1", "pegasus"),
    *("rnn", "gru"),
)
_OTHERWISE_MASKED = ("-static", "-uer", "-words", "-bpe", "-lead", "-random", "-geometric")
VARIANTS = [
    name for name in RECIPES if name.startswith(_LIKE_OTHERS) or name.endswith(_OTHERWISE_MASKED)
]
KINDS = [name for name in RECIPES if name not in VARIANTS]
# By default each kind of plan is trained once on two ranks: at ZeRO 3, in stages, or both (elmo,
# t5).
AT_ZERO3 = [
    *("albert-tiny", "bart-tiny", "distilbert-tiny", "elmo-tiny", "llama-tiny", "lstm-tiny"),
    "t5-tiny",
]
IN_STAGES = [
    *(
        "bert-tiny",
        "elmo-tiny",
        "gated-cnn-tiny",
        "gpt2-tiny",
        "modernbert-tiny",
        "prefixlm-tiny",
        "realformer-tiny",
    ),
    *("t5-tiny", "translation-tiny"),
]
CROSSES_STAGES = [name for name in RECIPES if not name.startswith("distil")]


def trainings(
    files: Files, names: Sequence[str], *engine: str, teacher: Path = Path()
) -> list[Tiny]:
    """Return trainings of the recipes `names` under one engine, the teacher first."""
    return [
        Tiny(
            name,
            (*EXACT, *engine, _samples(name)),
            recipe=RECIPES[name],
            files=files,
            teacher=teacher,
        )
        for name in sorted(names, key=lambda name: name != TEACHER)
    ]


def _samples(name: str) -> str:
    return f"tracking.samples={2 * (name in SAMPLED)}"


def rest(every: Sequence[str], default: Sequence[str]) -> list[str]:
    """Return the names that only slow tests use."""
    return [name for name in every if name not in default]


@pytest.fixture(scope="session")
def alone(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    folder = tmp_path_factory.mktemp("families-alone")
    parts = (
        trainings(files, KINDS, zero(0), teacher=folder / "runs" / TEACHER),
        trainings(files, VARIANTS, zero(0)),
    )
    with launched(*parts, ranks=1, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def zero3(
    files: Files, alone: Launch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launch]:
    """Two ranks at ZeRO 3."""
    alone.metrics(TEACHER)
    folder = tmp_path_factory.mktemp("families-zero3")
    parts = (
        trainings(files, names, zero(3), teacher=alone.runs / TEACHER)
        for names in (AT_ZERO3, rest(list(RECIPES), AT_ZERO3))
    )
    with launched(*parts, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.fixture(scope="session")
def stages2(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launch]:
    """Two stages."""
    folder = tmp_path_factory.mktemp("families-stages2")
    parts = (
        trainings(files, names, *stages(2))
        for names in (IN_STAGES, rest(CROSSES_STAGES, IN_STAGES))
    )
    with launched(*parts, ranks=2, store=files.folder, folder=folder) as launch:
        yield launch


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_falls(alone: Launch, name: str) -> None:
    *_, halfway, ended = [one for one in alone.metrics(name) if one["split"] == "eval"]
    term = "mlm_loss" if "mlm_loss" in ended else "lm_loss"
    assert ended[term] < halfway[term]


def same_as_alone(launch: Launch, alone: Launch, name: str) -> None:
    worst = differences(launch.metrics(name), alone.metrics(name))
    assert {key: apart for key, apart in worst.items() if apart > WITHIN} == {}


@pytest.mark.parametrize("name", [by_default(name, AT_ZERO3) for name in RECIPES])
def test_zero_3_has_the_losses_of_one_process(zero3: Launch, alone: Launch, name: str) -> None:
    same_as_alone(zero3, alone, name)


@pytest.mark.parametrize("name", [by_default(name, IN_STAGES) for name in CROSSES_STAGES])
def test_two_stages_have_the_losses_of_one_process(
    stages2: Launch, alone: Launch, name: str
) -> None:
    same_as_alone(stages2, alone, name)


@pytest.mark.parametrize("name", [name for name in SAMPLED if name in AT_ZERO3])
def test_zero_3_shows_the_samples_of_one_process(zero3: Launch, alone: Launch, name: str) -> None:
    """The texts are equal; predictions nearly so, as rounding may decide between two tokens."""
    for launch in (zero3, alone):
        launch.metrics(name)
    mine, theirs = (read_samples(launch.runs / name) for launch in (zero3, alone))
    assert [one.step for one in mine] == [one.step for one in theirs] == [4, 8]
    pairs = [
        pair
        for one, other in zip(mine, theirs, strict=True)
        for pair in zip(one.samples, other.samples, strict=True)
    ]
    assert all((a.text, a.expected) == (b.text, b.expected) for a, b in pairs)
    assert sum(a.predicted == b.predicted for a, b in pairs) >= len(pairs) - 1


def test_two_stages_show_what_masked_models_fill_in(stages2: Launch, alone: Launch) -> None:
    for launch in (stages2, alone):
        launch.metrics("bert-tiny")
    mine, theirs = (read_samples(launch.runs / "bert-tiny") for launch in (stages2, alone))
    assert [one.step for one in mine] == [4, 8]
    tokens = [
        (predicted, other)
        for one, of_alone in zip(mine, theirs, strict=True)
        for sample, same in zip(one.samples, of_alone.samples, strict=True)
        for predicted, other in zip(sample.predicted, same.predicted, strict=True)
    ]
    assert len(tokens) > 10
    assert sum(a == b for a, b in tokens) >= 0.9 * len(tokens)


def test_every_kind_of_plan_is_trained_on_two_ranks_by_default() -> None:
    assert {*AT_ZERO3, *IN_STAGES, TEACHER} == set(KINDS)


def test_the_tiny_recipes_cover_all_objectives() -> None:
    families = {load_recipe(str(path)).objective.type for path in RECIPES.values()}
    known = {
        *("mlm", "bert", "albert", "distil", "lm", "bilm", "prefixlm"),
        *("seq2seq", "t5", "bart", "gsg"),
    }
    assert families == known
