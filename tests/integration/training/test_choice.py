"""Trainings of multiple choice: transformers' curve, stops, bad stores, and the recipes' tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import BertForMultipleChoice

from ptm.cli import main
from ptm.errors import EXIT_DONE, UserError
from ptm.interop.sources.open import open_source
from ptm.loading.batches import TrainStream
from ptm.recipe import Recipe
from ptm.runs.evaluate import evaluate_source
from ptm.train.inputs import open_inputs
from tests.integration.training.test_finetuning_recipes import SMALL
from tests.support.choice_texts import c3, choosing, make_store, questions, race, write_stores
from tests.support.faults import Killed
from tests.support.lora import adamw
from tests.support.small_runs import PROJECT, Runs

SHORT = ("train.steps=6", "tracking.log_every=2", "tracking.evaluate_every=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("choices")
    write_stores(made)
    return made


def of_equal_counts(part: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """The questions of a micro-batch as arguments of transformers: (questions, choices, tokens)."""
    numbers = part["choice_numbers"]
    firsts = [at for at in range(len(numbers)) if numbers[at] == 1]
    found: dict[int, list[dict[str, Tensor]]] = {}
    for row, at in enumerate(firsts):
        of_choices = part["example_ids"][row]
        count = int(of_choices.max())
        masks = [of_choices == number for number in range(1, count + 1)]

        def padded(name: str, row: int = row, masks: list[Tensor] = masks) -> Tensor:
            return pad_sequence([part[name][row][mask] for mask in masks], batch_first=True)

        question = {
            "input_ids": padded("input_ids"),
            "token_type_ids": (padded("segment_ids") - 1).clamp(min=0),
            "attention_mask": (padded("example_ids") > 0).long(),
            "labels": part["choice_labels"][at : at + count].argmax(),
        }
        found.setdefault(count, []).append(question)
    return [_stacked(some) for some in found.values()]


def _stacked(some: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    longest = max(one["input_ids"].shape[1] for one in some)
    return {
        name: torch.stack(
            [
                tensor if tensor.dim() == 0 else F.pad(tensor, (0, longest - tensor.shape[1]))
                for tensor in (one[name] for one in some)
            ]
        )
        for name in some[0]
    }


@pytest.mark.parametrize("steps", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_the_losses_are_those_of_transformers(
    runs: Runs, folder: Path, tmp_path: Path, steps: int
) -> None:
    rate, decay = 2e-3, 0.1
    options = (
        *(*choosing(folder), "model.dropout=0.0", "tracking.log_every=1", "data.packing=false"),
        *("optimizer.beta2=0.999", f"optimizer.weight_decay={decay}", "schedule.warmup=0.1"),
        "train.micro_batch_size=4",
    )
    assert runs.train("start", *options, "train.steps=1", "optimizer.learning_rate=1e-9") == 0
    assert main(["export", str(runs.folder / "start"), str(tmp_path / "hf"), "--to", "hf"]) == 0
    more = (f"init_from={tmp_path / 'hf'}", f"optimizer.learning_rate={rate}")
    assert runs.train("curve", *options, *more, f"train.steps={steps}", "checkpoint.every=100") == 0
    ours = [one["loss"] for one in runs.metrics("curve") if one["split"] == "train"]
    recipe = open_source(str(runs.folder / "curve")).recipe()
    assert isinstance(recipe, Recipe)
    inputs = open_inputs(recipe)
    model = BertForMultipleChoice.from_pretrained(tmp_path / "hf").train()
    optimizer = adamw(model, rate=rate, decay=decay)
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    losses = []
    for step, batch in zip(range(steps), stream.steps(0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate * recipe.schedule.factor(step, steps)
        optimizer.zero_grad()
        loss = torch.zeros(())
        for part in batch.micro_batches:
            for arguments in of_equal_counts(part):
                loss = loss + len(arguments["labels"]) * model(**arguments).loss
        loss = loss / batch.counts["questions"]
        loss.backward()
        losses.append(float(loss.detach()))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(
        max(abs(mine - other) for mine, other in zip(ours, losses, strict=True)),
        losses[0],
        losses[-1],
    )
    assert max(abs(mine - other) for mine, other in zip(ours, losses, strict=True)) < 1e-4
    assert losses[0] - losses[-1] > (0.3 if steps == 100 else 0.02)


def test_a_killed_training_resumes_with_identical_metrics(runs: Runs, folder: Path) -> None:
    options = (*choosing(folder), *SHORT, "data.packing=true", "checkpoint.every=3")
    assert runs.train("calm", *options) == EXIT_DONE
    with pytest.raises(Killed):
        runs.train("killed", *options, die_at=5)
    assert runs.train("killed", *options) == EXIT_DONE
    assert runs.metrics("killed") == runs.metrics("calm")
    last = runs.metrics("calm")[-1]
    found = evaluate_source(open_source(str(runs.folder / "calm")), ["train.micro_batch_size=3"])
    assert found["dev/accuracy"] == last["accuracy"]
    assert found["dev/loss"] == pytest.approx(last["loss"], rel=1e-5)


def test_a_question_of_more_choices_than_the_objective_is_an_error(
    runs: Runs, folder: Path
) -> None:
    with pytest.raises(UserError, match=r"has 4 choices, but .* Set objective\.choices: 4"):
        runs.train("rejected", *choosing(folder), "objective={type: choice, choices: 3}")
    assert not (runs.folder / "rejected").exists()


def test_questions_without_answers_are_for_predictions(
    runs: Runs, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = json.loads(c3(questions(3, first=0)))
    del entries[1][1][0]["answer"]
    path = tmp_path / "test.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    with pytest.raises(UserError, match=r"\[1\]\[1\]\[0\]: the question has no answer"):
        make_store(tmp_path / "store", path)
    assert not (tmp_path / "store" / "store.json").exists()
    assert runs.train("run", *choosing(folder), "train.steps=1") == EXIT_DONE
    capsys.readouterr()
    assert main(["predict", str(runs.folder / "run"), str(path), "--format", "json_lines"]) == 0
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [one.get("label") is not None for one in answers] == [True, False, True]
    assert all(sum(one["probabilities"]) == pytest.approx(1) for one in answers)
    assert "on 2 questions with answers" in err


def write_tasks(folder: Path) -> None:
    """A few questions in the files of C3 and RACE, where the recipes expect them."""
    some = questions(8, first=0)
    four = [one for one in some if len(one.choices) == 4]
    for split, one in (("train", some[:4]), ("dev", some[4:])):
        (folder / "corpora" / "c3").mkdir(parents=True, exist_ok=True)
        for kind in "dm":
            path = folder / "corpora" / "c3" / f"{kind}-{split}.json"
            path.write_text(c3(one), encoding="utf-8")
    for split in ("train", "dev", "test"):
        for level in ("high", "middle"):
            path = folder / "corpora" / "RACE" / split / level
            path.mkdir(parents=True)
            for number, question in enumerate(four):
                (path / f"{number}.txt").write_text(race(question, question), encoding="utf-8")


@pytest.mark.parametrize("name", ["c3", "race"])
def test_a_recipe_reads_its_task_as_distributed_and_trains_a_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_tasks(tmp_path)
    recipe = PROJECT / "recipes" / "finetune" / "choice" / f"{name}.yaml"
    small = (*SMALL, "train.global_batch_size=4", "train.micro_batch_size=2")
    assert main(["preprocess", str(recipe), *small]) == EXIT_DONE
    count = {
        "c3": 8,
        "race": 2 * 2 * len([q for q in questions(8, first=0) if len(q.choices) == 4]),
    }
    assert f"train: {count[name]} questions" in capsys.readouterr().out
    assert main(["train", str(recipe), *small]) == EXIT_DONE
    assert main(["evaluate", f"runs/finetune-{name}", "--step", "best"]) == EXIT_DONE
    assert "accuracy" in capsys.readouterr().out
