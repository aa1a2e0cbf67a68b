"""Distillation: which teachers are allowed, what a run saves of them, and the losses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ptm.checkpoint.format import Checkpoint
from ptm.engines.teachers import open_teachers
from ptm.errors import EXIT_DONE, EXIT_STOPPED, UserError
from ptm.interop.sources.open import open_source
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.train.validate import check_recipe
from tests.support.small_runs import Runs

SHORT = ("train.steps=4", "tracking.log_every=1", "data.held_out=0.05", "checkpoint.every=2")
TERMS = {"soft_loss": 5.0, "mlm_loss": 2.0, "cosine_loss": 1.0}


@pytest.fixture(scope="module")
def teacher(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two layers, trained for a few steps."""
    runs = Runs(store, tmp_path_factory.mktemp("teachers"))
    assert runs.train("teacher", "model.encoder.layers=2", *SHORT, "data.held_out=0") == EXIT_DONE
    return runs.folder / "teacher"


def taught_by(*teachers: Path, weights: str = "") -> str:
    who = ", ".join(map(str, teachers))
    return f"objective={{type: distil, teachers: [{who}]{weights}}}"


def test_the_loss_is_the_weighted_sum_of_its_terms(runs: Runs, teacher: Path) -> None:
    assert runs.train("student", taught_by(teacher), *SHORT) == EXIT_DONE
    records = runs.metrics("student")
    assert {record["split"] for record in records} == {"train", "eval"}
    for record in records:
        terms = {name: record[name] for name in TERMS}
        assert min(terms.values()) > 0
        assert record["loss"] == pytest.approx(sum(TERMS[n] * v for n, v in terms.items()))
    held_out = records[-1]
    assert held_out["perplexity"] == pytest.approx(torch.tensor(held_out["mlm_loss"]).exp())


def test_weights_on_a_schedule_move_the_loss(runs: Runs, teacher: Path) -> None:
    weights = ", weights: {soft: {start: 8, end: 0, steps: 4}, mlm: 1, cosine: 0}"
    assert runs.train("student", taught_by(teacher, weights=weights), *SHORT) == EXIT_DONE
    for record in runs.metrics("student"):
        # A step uses the loss weights before its update, an evaluation those after it.
        before = record["step"] - (record["split"] == "train")
        expected = (8 - 2 * before) * record["soft_loss"] + record["mlm_loss"]
        assert record["loss"] == pytest.approx(expected, rel=1e-5)
        assert "cosine_loss" not in record


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_teachers_compute_in_the_precision_of_the_student(
    runs: Runs, teacher: Path, precision: str
) -> None:
    assert runs.train("whole", taught_by(teacher), *SHORT) == EXIT_DONE
    half = (f"engine.precision={precision}", "engine.loss_scale.initial_power=8")
    assert runs.train("half", taught_by(teacher), *SHORT, *half) == EXIT_DONE
    for one, other in zip(runs.metrics("half"), runs.metrics("whole"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02)


def test_the_weights_of_a_teacher_have_the_precision_of_the_student(
    runs: Runs, teacher: Path
) -> None:
    recipe, *overrides = runs.arguments("student", taught_by(teacher))
    loaded = load_recipe(recipe, overrides)
    teachers = open_teachers(loaded, loaded.tokenizer.load())
    assert teachers is not None
    for precision, bytes_each in (("bf16", 2), ("fp16", 2), ("fp32", 4)):
        teachers.prepare(torch.device("cpu"), precision)
        sizes = {p.element_size() for model in teachers.models for p in model.parameters()}
        assert sizes == {bytes_each}


def test_several_teachers_are_averaged(runs: Runs, teacher: Path) -> None:
    other = runs.folder / "other"
    assert runs.train("other", "seed=8", *SHORT) == EXIT_DONE
    soft = {}
    for name, teachers in {
        "one": [teacher],
        "two": [teacher, other],
        "same": [teacher] * 2,
    }.items():
        assert runs.train(name, taught_by(*teachers), *SHORT) == EXIT_DONE
        soft[name] = [record["soft_loss"] for record in runs.metrics(name)]
    assert soft["same"] == pytest.approx(soft["one"], rel=1e-5)
    assert soft["two"] != pytest.approx(soft["one"], rel=1e-3)


def test_a_teacher_is_not_trained(runs: Runs, teacher: Path) -> None:
    recipe, *overrides = runs.arguments("student", taught_by(teacher), *SHORT)
    loaded = load_recipe(recipe, overrides)
    before = open_teachers(loaded, loaded.tokenizer.load())
    assert before is not None
    assert runs.train("student", taught_by(teacher), *SHORT) == EXIT_DONE
    assert all(not p.requires_grad for model in before.models for p in model.parameters())
    assert all(not module.training for model in before.models for module in model.modules())
    saved = Checkpoint.open(runs.folder / "student" / "checkpoints" / "global_step4")
    assert saved.run["teachers"] == list(before.fingerprints)


def test_a_stopped_and_resumed_distillation_has_the_metrics_of_an_undisturbed_one(
    runs: Runs, teacher: Path
) -> None:
    assert runs.train("calm", taught_by(teacher), *SHORT) == EXIT_DONE
    stop = "train.wall_time_hours=1e-9"
    assert runs.train("stopped", taught_by(teacher), *SHORT, stop) == EXIT_STOPPED
    assert runs.train("stopped", taught_by(teacher), *SHORT) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")


def test_a_teacher_that_has_changed_is_rejected(runs: Runs, teacher: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(teacher, mine)
    stop = "train.wall_time_hours=1e-9"
    assert runs.train("student", taught_by(mine), *SHORT, stop) == EXIT_STOPPED
    shutil.rmtree(mine / "checkpoints" / "global_step4")
    with pytest.raises(UserError, match=r"distilled from other weights .* --fresh"):
        runs.train("student", taught_by(mine), *SHORT)


def narrower(teacher: Path) -> tuple[str, ...]:
    return taught_by(teacher), "model.encoder.hidden_size=16"


def other_vocabulary(teacher: Path) -> tuple[str, ...]:
    found = (teacher / "tokenizer" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    path = teacher.with_name("other.txt")
    path.write_text("\n".join([*found[:-2], found[-1], found[-2]]) + "\n", encoding="utf-8")
    return taught_by(teacher), f"tokenizer.vocab={path}"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (narrower, r"hidden size is 32, but the student's is 16 .*weights\.cosine: 0"),
        (other_vocabulary, r"the teacher's vocabulary differs from .*other\.txt"),
        (
            lambda teacher: (taught_by(teacher), "model.embedding.rows=9000"),
            r"the teacher's output layer has \d+ rows, but the student's has 9000",
        ),
        (
            lambda teacher: (taught_by(teacher / "nowhere"),),
            r"objective\.teachers: .* not a folder",
        ),
        (
            lambda teacher: (
                taught_by(teacher),
                "data.sequence_length=600",
                "model.embedding.positions=600",
            ),
            r"positions, but data\.sequence_length = 600",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_rejected(
    runs: Runs, teacher: Path, wrong: Callable[[Path], tuple[str, ...]], sentence: str
) -> None:
    recipe, *overrides = runs.arguments("student", *wrong(teacher))
    loaded = load_recipe(recipe, overrides)
    with pytest.raises(UserError, match=sentence):
        open_teachers(loaded, loaded.tokenizer.load())


def test_a_narrower_student_trains_without_the_cosine_loss(runs: Runs, teacher: Path) -> None:
    without = taught_by(teacher, weights=", weights: {cosine: 0}")
    assert runs.train("student", without, "model.encoder.hidden_size=16", *SHORT) == EXIT_DONE


def test_a_missing_teacher_does_not_fail_validation(runs: Runs, tmp_path: Path) -> None:
    recipe, *overrides = runs.arguments("student", taught_by(tmp_path / "nowhere"))
    verdict = check_recipe(load_recipe(recipe, overrides), need_inputs=False)
    (missing,) = verdict.unchecked
    assert missing.startswith("objective.teachers: ")


def test_pipeline_stages_are_rejected_with_the_reason(runs: Runs, teacher: Path) -> None:
    stages = ("engine.deepspeed=pipeline", "engine.pipeline_stages=2")
    recipe, *overrides = runs.arguments("student", taught_by(teacher), *stages)
    with pytest.raises(UserError, match=r"distil does not support pipeline stages: .* no gradient"):
        load_recipe(recipe, overrides)


def test_a_student_is_evaluated_without_its_teacher(runs: Runs, teacher: Path) -> None:
    mine = runs.folder / "mine"
    shutil.copytree(teacher, mine)
    assert runs.train("student", taught_by(mine), *SHORT) == EXIT_DONE
    shutil.rmtree(mine)
    found = evaluate_source(open_source(str(runs.folder / "student")), [])
    reported = runs.metrics("student")[-1]
    assert found["loss"] == found["mlm_loss"] == pytest.approx(reported["mlm_loss"], rel=1e-5)
    assert found["perplexity"] == pytest.approx(reported["perplexity"], rel=1e-5)
    assert "soft_loss" not in found


@pytest.mark.parametrize(
    ("chosen", "layer"), [("every: 2", 0), ("layers: [1]", 1), ("layers: [0]", 0)]
)
def test_a_student_starts_from_chosen_layers_of_its_teacher(
    runs: Runs, teacher: Path, chosen: str, layer: int
) -> None:
    still = ("optimizer.learning_rate=1e-30", "train.steps=1", "checkpoint.every=1")
    begin = f"init_from={{source: {teacher}, {chosen}}}"
    assert runs.train("student", begin, *still) == EXIT_DONE
    mine = Checkpoint.open(runs.folder / "student" / "checkpoints" / "global_step1")
    theirs = Checkpoint.open(teacher / "checkpoints" / "global_step4")
    for name in mine.shapes:
        source = name.replace("encoder_00", f"encoder_{layer:02}")
        assert torch.equal(mine.weights(name), theirs.weights(source)), name
    story = mine.run["started_from"]
    assert story["layers"] == [layer]
    assert all(name.startswith(f"encoder_{1 - layer:02}") for name in story["left"])
    assert story["left"]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        (
            "every: 1",
            r"layers chosen from .*: 2 \(\[0, 1\]\); layers of .* encoder: 1\. Choose 1\.",
        ),
        ("layers: [2]", "has no encoder layer 2. It has 2 encoder layers, counted from 0"),
        ("every: 2, layers: [0]", "set at most one of every and layers"),
    ],
)
def test_layers_that_do_not_fit_are_rejected(
    runs: Runs, teacher: Path, chosen: str, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        runs.train("student", f"init_from={{source: {teacher}, {chosen}}}", *SHORT)
