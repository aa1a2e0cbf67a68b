"""Training here and training transformers' own model with torch's optimizer give one loss curve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from ptm.interop.hf.export import export_to_huggingface
from ptm.recipe import Recipe, load_recipe, recipe_from_data, recipe_yaml
from ptm.train.batches import TrainStream
from ptm.train.inputs import open_inputs
from tests.conftest import BuildStore, corpus_text
from tests.integration.parity.curve_cases import CASES, WEIGHT_DECAY, CurveCase
from tests.support.bert_pairs import write_model

pytestmark = pytest.mark.timeout(900)  # The first test waits for all trainings.

APART = 1e-4
"""What a curve may differ by: about 2e-6 is measured, and a forgotten weight decay makes 1e-3."""
CONFIGURATIONS = ("zero0", "zero1")
OF_NEXT = [name for name, case in CASES.items() if case.objective == "lm"]
WITH_PAIRS = [name for name, case in CASES.items() if case.pair_argument]

Arguments = dict[str, Tensor]
Change = Callable[[Arguments], Arguments]


@dataclass(frozen=True)
class Curve:
    """The loss of every step, and the gradient's norm before clipping."""

    loss: list[float]
    grad_norm: list[float]


@dataclass(frozen=True)
class Trained:
    """A case and the folder that its training left: its curves and the weights it began with."""

    case: CurveCase
    folder: Path

    @property
    def recipe(self) -> Recipe:
        return load_recipe(str(self.folder / "recipe.yaml"), [])

    def curve(self, configuration: str) -> Curve:
        written = (self.folder / f"{configuration}.json").read_text(encoding="utf-8")
        return Curve(**json.loads(written))


@pytest.fixture(scope="module")
def all_trained(
    tmp_path_factory: pytest.TempPathFactory,
    corpus_texts: list[str],
    bundled_vocab: Path,
    build_store: BuildStore,
) -> dict[str, Trained]:
    """Every case, trained by one process."""
    found = {}
    for name, case in CASES.items():
        folder = tmp_path_factory.mktemp(name)
        text = corpus_text(corpus_texts, case.layout)
        build_store(folder, text, vocab=bundled_vocab, layout=case.layout)
        recipe = recipe_from_data(case.recipe(folder, bundled_vocab), name=name)
        (folder / "recipe.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
        found[name] = Trained(case, folder)
    command = [sys.executable, str(Path(__file__).with_name("loss_curve.py"))]
    folders = [str(trained.folder) for trained in found.values()]
    ended = subprocess.run(
        [*command, "--deepspeed", *CONFIGURATIONS, "--", *folders],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return found


@pytest.fixture(scope="module", params=CASES)
def trained(request: pytest.FixtureRequest, all_trained: dict[str, Trained]) -> Trained:
    return all_trained[request.param]


@pytest.fixture(scope="module")
def theirs(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Curve:
    """transformers' model from the same first weights, on the same batches."""
    return their_curve(trained, exported(trained, tmp_path_factory.mktemp("theirs")))


def exported(trained: Trained, folder: Path) -> PreTrainedModel:
    """The model that the training began with, as transformers loads it."""
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
    steps: int | None = None,
    change: Change = lambda arguments: arguments,
) -> Curve:
    """`model` trained with torch's optimizer, `change` being made to what it takes."""
    case = trained.case
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        lr=case.rate,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=WEIGHT_DECAY,
    )
    schedule = get_linear_schedule_with_warmup(optimizer, case.warmup, case.steps)
    inputs = open_inputs(trained.recipe)
    stream = TrainStream(inputs.train, inputs.batch, data_rank=0)
    curve = Curve([], [])
    for _, batch in zip(range(steps or case.steps), stream.steps(0), strict=False):
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
    """How far the losses of every step are from each other, as far as `theirs` goes."""
    return (torch.tensor(ours.loss)[: len(theirs.loss)] - torch.tensor(theirs.loss)).abs()


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_loss_is_the_same_at_every_step(
    trained: Trained, theirs: Curve, configuration: str
) -> None:
    ours = trained.curve(configuration)
    assert len(ours.loss) == len(theirs.loss) == trained.case.steps
    by_step = apart(ours, theirs)
    assert float(by_step.max()) <= APART, f"at step {int(by_step.argmax())}"


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_gradient_norm_before_clipping_is_the_same(
    trained: Trained, theirs: Curve, configuration: str
) -> None:
    ours = torch.tensor(trained.curve(configuration).grad_norm)
    torch.testing.assert_close(ours, torch.tensor(theirs.grad_norm), rtol=1e-3, atol=0)


def test_the_loss_falls_and_gradients_are_clipped_on_the_way(theirs: Curve) -> None:
    """Else the comparison would say nothing about learning, or nothing about clipping."""
    first, last = sum(theirs.loss[:20]) / 20, sum(theirs.loss[-20:]) / 20
    assert last < first - 1.0
    assert sum(norm > 1.0 for norm in theirs.grad_norm) > len(theirs.loss) / 2


def other_pair_labels(arguments: Arguments) -> Arguments:
    (name,) = {case.pair_argument for case in CASES.values()} & arguments.keys()
    return {**arguments, name: 1 - arguments[name]}


def one_segment(arguments: Arguments) -> Arguments:
    return {**arguments, "token_type_ids": torch.zeros_like(arguments["token_type_ids"])}


@pytest.mark.parametrize("change", [other_pair_labels, one_segment], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_a_mistake_about_pairs_shows(
    all_trained: dict[str, Trained], tmp_path: Path, name: str, change: Change
) -> None:
    trained = all_trained[name]
    wrong = their_curve(trained, exported(trained, tmp_path), steps=20, change=change)
    assert float(apart(trained.curve(CONFIGURATIONS[0]), wrong).max()) > 10 * APART


def seeing_ahead(arguments: Arguments) -> Arguments:
    mask = arguments["attention_mask"]
    return {**arguments, "attention_mask": mask | mask.transpose(2, 3)}


def targets_moved_twice(arguments: Arguments) -> Arguments:
    """As transformers itself moves labels, which here are moved already."""
    return {name: value for name, value in arguments.items() if name != "shift_labels"}


@pytest.mark.parametrize("change", [seeing_ahead, targets_moved_twice], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", OF_NEXT)
def test_a_mistake_about_the_next_token_shows(
    all_trained: dict[str, Trained], tmp_path: Path, name: str, change: Change
) -> None:
    trained = all_trained[name]
    wrong = their_curve(trained, exported(trained, tmp_path), steps=10, change=change)
    assert float(apart(trained.curve(CONFIGURATIONS[0]), wrong).max()) > 10 * APART
