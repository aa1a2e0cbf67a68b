"""A training run of ptm has the loss curve of transformers' model under torch's optimizer.

By default a few steps of each run are compared; whole curves under all configurations are slow.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from ptm.interop.hf.io.export import export_to_huggingface
from ptm.loading.batches import TrainStream
from ptm.recipe import Recipe, load_recipe, recipe_from_data, recipe_yaml
from ptm.text.corpus import Layout
from ptm.train.inputs import open_inputs
from tests.conftest import BuildStore, corpus_text
from tests.integration.parity.curve_cases import CASES, WEIGHT_DECAY, CurveCase
from tests.support.bert_pairs import write_model

pytestmark = pytest.mark.timeout(900)  # The first slow test trains all cases.

TOLERATED = 1e-4
"""Largest difference of losses: about 2e-6 is measured, and a missing weight decay gives 1e-3."""
CONFIGURATIONS = ("zero0", "zero1")
FULL = [(name, configuration) for name in CASES for configuration in CONFIGURATIONS]
"""Whole curves, which are slow."""
SHORT = [(name, CONFIGURATIONS[index % 2]) for index, name in enumerate(CASES)]
"""The first steps of each curve, under one configuration each."""
SHORT_STEPS = 6
OF_NEXT = [(name, conf) for name, conf in SHORT if CASES[name].objective == "lm"]
WITH_PAIRS = [(name, conf) for name, conf in SHORT if CASES[name].pair_argument]

Arguments = dict[str, Tensor]
Change = Callable[[Arguments], Arguments]


@dataclass(frozen=True)
class Curve:
    """The loss of every step, and the gradient's norm before clipping."""

    loss: list[float]
    grad_norm: list[float]


@dataclass(frozen=True)
class Trained:
    """A case and the folder of its training run, with its curves and its initial weights."""

    case: CurveCase
    folder: Path

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.folder / "recipe.yaml"), [])

    def curve(self, configuration: str) -> Curve:
        written = (self.folder / f"{configuration}.json").read_text(encoding="utf-8")
        return Curve(**json.loads(written))


Train = Callable[[bool], dict[str, Trained]]


@pytest.fixture(scope="module")
def train_all(
    tmp_path_factory: pytest.TempPathFactory,
    corpus_texts: list[str],
    bundled_vocab: Path,
    build_store: BuildStore,
) -> Train:
    """Every case, trained in one process: for a few steps, or in full."""

    @cache
    def data(layout: Layout) -> Path:
        folder = tmp_path_factory.mktemp(layout)
        build_store(folder, corpus_text(corpus_texts, layout), vocab=bundled_vocab, layout=layout)
        return folder

    @cache
    def train(in_full: bool) -> dict[str, Trained]:
        found = {}
        for name, whole in CASES.items():
            case = whole if in_full else replace(whole, steps=SHORT_STEPS)
            folder = tmp_path_factory.mktemp(name)
            blocks = case.recipe(folder, bundled_vocab, data=data(case.layout))
            recipe = recipe_from_data(blocks, Recipe, name=name)
            (folder / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
            found[name] = Trained(case, folder)
        trainings = [
            f"{configuration}={found[name].folder}"
            for name, configuration in (FULL if in_full else SHORT)
        ]
        ended = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("loss_curve.py")), *trainings],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return found

    return train


@dataclass(frozen=True)
class Comparison:
    """ptm's curve and transformers', from the same initial weights and on the same batches."""

    case: CurveCase
    ours: Curve
    theirs: Curve


@pytest.fixture(scope="module")
def compare(
    train_all: Train, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str, bool], Comparison]:
    @cache
    def theirs(name: str, in_full: bool) -> Curve:
        trained = train_all(in_full)[name]
        return their_curve(trained, exported(trained, tmp_path_factory.mktemp("theirs")))

    def comparison(name: str, configuration: str, in_full: bool) -> Comparison:
        trained = train_all(in_full)[name]
        return Comparison(trained.case, trained.curve(configuration), theirs(name, in_full))

    return comparison


@pytest.fixture(
    params=[
        *(pytest.param((*one, False), id="-".join(one)) for one in SHORT),
        *(
            pytest.param((*one, True), id="-".join((*one, "full")), marks=pytest.mark.slow)
            for one in FULL
        ),
    ]
)
def comparison(
    request: pytest.FixtureRequest, compare: Callable[[str, str, bool], Comparison]
) -> Comparison:
    return compare(*request.param)


def exported(trained: Trained, folder: Path) -> PreTrainedModel:
    """The model with the initial weights, exported and loaded by transformers."""
    blocks = trained.recipe.model_dump(
        mode="json", include={"tokenizer", "model", "objective", "data"}
    )
    source = write_model(folder / "model", blocks, load_file(trained.folder / "first.safetensors"))
    export_to_huggingface(source, folder / "export", weights_format="safetensors")
    model: PreTrainedModel = trained.case.theirs.from_pretrained(folder / "export")
    return model.train()


def their_curve(
    trained: Trained,
    model: PreTrainedModel,
    *,
    change: Change = lambda arguments: arguments,
) -> Curve:
    """The curve of `model` under torch's optimizer; `change` is applied to its arguments."""
    case = trained.case
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups,
        lr=case.rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=WEIGHT_DECAY,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, case.warmup, case.steps)
    inputs = open_inputs(trained.recipe)
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    curve = Curve([], [])
    for _, batch in zip(range(case.steps), stream.steps(0), strict=False):
        parts = [case.arguments(part) for part in batch.micro_batches]
        whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        optimizer.zero_grad()
        loss = model(**change(whole)).loss
        loss.backward()
        curve.loss.append(float(loss.detach()))
        curve.grad_norm.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        schedule.step()
    return curve


def apart(ours: Curve, theirs: Curve) -> Tensor:
    """Absolute difference of the losses at each step of `theirs`."""
    return (torch.tensor(ours.loss)[: len(theirs.loss)] - torch.tensor(theirs.loss)).abs()


def test_the_loss_is_the_same_at_every_step(comparison: Comparison) -> None:
    ours, theirs = comparison.ours, comparison.theirs
    assert len(ours.loss) == len(theirs.loss) == comparison.case.steps
    by_step = apart(ours, theirs)
    assert float(by_step.max()) <= TOLERATED, f"at step {int(by_step.argmax())}"


def test_the_gradient_norm_before_clipping_is_the_same(comparison: Comparison) -> None:
    ours, theirs = (torch.tensor(c.grad_norm) for c in (comparison.ours, comparison.theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=0)


def test_the_loss_falls_and_gradients_are_clipped(comparison: Comparison) -> None:
    """Otherwise the comparison would not cover learning or clipping."""
    loss, norms = comparison.theirs.loss, comparison.theirs.grad_norm
    whole = comparison.case.steps > SHORT_STEPS
    ends = 20 if whole else 3
    fallen = sum(loss[:ends]) / ends - sum(loss[-ends:]) / ends
    assert fallen > (1.0 if whole else 100 * TOLERATED)
    assert sum(norm > 1.0 for norm in norms) > len(norms) / 2


def other_pair_labels(arguments: Arguments) -> Arguments:
    known = {case.pair_argument for case in CASES.values() if case.pair_argument}
    (name,) = known & arguments.keys()
    return {**arguments, name: 1 - arguments[name]}


def one_segment(arguments: Arguments) -> Arguments:
    return {**arguments, "token_type_ids": torch.zeros_like(arguments["token_type_ids"])}


def attending_to_future_tokens(arguments: Arguments) -> Arguments:
    mask = arguments["attention_mask"]
    return {**arguments, "attention_mask": mask | mask.transpose(2, 3)}


def targets_shifted_twice(arguments: Arguments) -> Arguments:
    """transformers shifts `labels` itself, but these are already shifted."""
    return {name: value for name, value in arguments.items() if name != "shift_labels"}


MISTAKES = [
    *itertools.product(WITH_PAIRS, (other_pair_labels, one_segment)),
    *itertools.product(OF_NEXT, (attending_to_future_tokens, targets_shifted_twice)),
]


@pytest.mark.parametrize(
    ("training", "change"),
    [pytest.param(one, change, id=f"{one[0]}-{change.__name__}") for one, change in MISTAKES],
)
def test_a_mistake_is_noticed(
    train_all: Train, tmp_path: Path, training: tuple[str, str], change: Change
) -> None:
    name, configuration = training
    trained = train_all(False)[name]
    wrong = their_curve(trained, exported(trained, tmp_path), change=change)
    assert float(apart(trained.curve(configuration), wrong).max()) > 10 * TOLERATED
