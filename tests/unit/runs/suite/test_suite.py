"""`ptm suite`: recipes of several objectives on one model, stopped, continued, and wrong ones."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import ptm.runs.suite.run as suite_run
from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_FAULT, EXIT_STOPPED, EXIT_USER, UserError
from ptm.recipe import load_recipe, recipe_yaml
from ptm.runs.suite.tasks import Plan, recipe_files, tasks_of
from tests.support import labelled_texts, tagged_texts
from tests.support.classifiers import run_command
from tests.support.small_runs import QUICKSTART, small_overrides
from tests.support.written_runs import write_run

Capture = pytest.CaptureFixture[str]


def write_recipe(path: Path, store: Path, *overrides: str) -> None:
    """A recipe of few steps; it names a tokenizer and a width that the model does not have."""
    own = (
        *("train.steps=4", "tracking.evaluate_every=2", "checkpoint.every=2", "model.dropout=0.25"),
        *("model.encoder.hidden_size=64", "tokenizer.vocab=no/vocab.txt"),
    )
    base = small_overrides(store, path.parent, path.stem)
    recipe = load_recipe(str(QUICKSTART / "roberta-tiny.yaml"), [*base, *overrides, *own])
    path.write_text(recipe_yaml(recipe), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("suite")
    for name, texts in (("texts", labelled_texts), ("tags", tagged_texts)):
        (made / name).mkdir()
        if name == "texts":
            labelled_texts.write_corpora(made / name)
        texts.write_stores(made / name)
    (made / "recipes").mkdir()
    best = "checkpoint.best=dev/accuracy"
    test = f"{{corpus: {made}/texts/train.tsv, store: {made}/new, during_training: false}}"
    write_recipe(
        made / "recipes" / "classes.yaml",
        made / "texts" / "train",
        *labelled_texts.classifying(made / "texts"),
        *(f"data.evaluation.test={test}", best),
    )
    write_recipe(
        made / "recipes" / "tags.yaml",
        made / "tags" / "train",
        *tagged_texts.tagging(made / "tags"),
        best.replace("accuracy", "entity_f1"),
    )
    write_run(store, made, "model", std=0.1)
    return made


class InProcess:
    """In place of the processes of a suite: commands of this process, which are recorded."""

    started: list[tuple[str, ...]]
    code: int | None = None

    def __init__(self, answer: Callable[[Sequence[str]], int | None] = lambda words: None) -> None:
        self.started = []
        self._answer = answer

    def __call__(self) -> InProcess:
        return self

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def run(
        self, words: Sequence[str], *, on_wait: Callable[[float], None] = lambda seconds: None
    ) -> int:
        name = next((word for word in words if word.startswith("name=")), "")
        self.started.append((words[0], name.removeprefix("name=")))
        answer = self._answer(words)
        code = main(list(words)) if answer is None else answer
        on_wait(1.5)
        return code

    def output(self, words: Sequence[str]) -> tuple[int, str]:
        from ptm.interop.sources.open import open_source
        from ptm.runs.evaluate import evaluate_source

        self.started.append((words[0], Path(words[1]).name))
        return EXIT_DONE, json.dumps(evaluate_source(open_source(words[1], step="best"), []))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> InProcess:
    found = InProcess()
    monkeypatch.setattr(suite_run, "Commands", found)
    return found


def words_of(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("suite", str(folder / "recipes"), "--init-from", str(folder / "model")),
        *("--out", str(folder / out), "engine.deepspeed=zero0", *more),
    ]


def test_the_table_has_mean_and_deviation_of_what_evaluate_measures(
    folder: Path, commands: InProcess, capsys: Capture
) -> None:
    words = words_of(folder, "whole", "--seeds", "2")
    code, lines, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    assert "task 2 of 2: tags: seed 1 of 2" in errors
    table = [line.split() for line in lines[-4:]]
    assert table[0] == ["task", "set", "metric", "mean", "deviation", "seeds", "seconds"]
    data = json.loads((folder / "whole" / "results.json").read_text())
    means = []
    for row, task, key in zip(
        table[1:3], data["tasks"], ("test/accuracy", "dev/entity_f1"), strict=True
    ):
        values = [metrics[key] for metrics in task["seeds"].values()]
        assert len(values) == 2
        means.append(statistics.mean(values))
        assert row == [
            *(task["task"], *key.split("/"), f"{means[-1]:.4f}"),
            *(f"{statistics.stdev(values):.4f}", "2", "3"),
        ]
        assert task["mean"] == means[-1]
    assert table[3] == ["mean", f"{statistics.mean(means):.4f}", "4", "6"]
    rows = (folder / "whole" / "results.tsv").read_text().splitlines()
    assert [row.split("\t")[3] for row in rows[1:3]] == [row[3] for row in table[1:3]]
    assert (folder / "whole" / "results.md").read_text().count("\n") == 5
    # The runs have the model of the suite and the dropout of the recipe; a store that fits is used.
    recipe = load_recipe(str(folder / "whole" / "runs" / "classes-seed1" / "recipe.yaml"))
    assert (recipe.model.encoder.hidden_size, recipe.model.dropout) == (32, 0.25)
    assert recipe.start is not None
    assert recipe.start.source == str(folder / "model")
    assert recipe.data.store == f"{folder}/whole/stores/classes/train"
    # Nothing is repeated, and with fewer seeds nothing is lost.
    commands.started.clear()
    assert run_command(words, capsys)[0] == EXIT_DONE
    assert run_command(words_of(folder, "whole", "--seeds", "1"), capsys)[0] == EXIT_DONE
    assert commands.started == []
    again = (folder / "whole" / "results.tsv").read_text().splitlines()
    assert [row.split("\t")[:6] for row in again] == [row.split("\t")[:6] for row in rows]


def test_a_stopped_suite_goes_on_where_it_stopped(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    stops = iter([None, None, EXIT_STOPPED])
    first, second = InProcess(lambda words: next(stops)), InProcess()
    monkeypatch.setattr(suite_run, "Commands", first)
    words = words_of(folder, "stopped", "--seeds", "2", "--remove-checkpoints")
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_STOPPED
    assert "stopped; the same command continues" in errors
    assert first.started == [
        *(("preprocess", "classes-seed1"), ("train", "classes-seed1")),
        *(("evaluate", "classes-seed1"), ("train", "classes-seed2")),
    ]
    assert list((folder / "stopped" / "runs" / "classes-seed1" / "checkpoints").glob("g*")) == []
    monkeypatch.setattr(suite_run, "Commands", second)
    assert run_command(words, capsys)[0] == EXIT_DONE
    assert second.started == [
        *(("train", "classes-seed2"), ("evaluate", "classes-seed2")),
        *(("train", "tags-seed1"), ("evaluate", "tags-seed1")),
        *(("train", "tags-seed2"), ("evaluate", "tags-seed2")),
    ]
    seconds = json.loads((folder / "stopped" / "scores" / "classes-seed2.json").read_text())
    assert seconds["seconds"] == 3.0


def test_a_failing_task_ends_the_suite_unless_it_keeps_going(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fails(words: Sequence[str]) -> int | None:
        return EXIT_FAULT if "name=classes-seed1" in words else None

    for more, code, trained in (((), EXIT_FAULT, 0), (("--keep-going",), EXIT_FAULT, 1)):
        started = InProcess(fails)
        monkeypatch.setattr(suite_run, "Commands", started)
        found = run_command(words_of(folder, "failing", "--seeds", "1", *more), capsys)
        assert found[0] == code
        assert started.started.count(("evaluate", "tags-seed1")) == trained
        assert "classes: failed with exit code 1" in found[2]


@pytest.fixture
def wrong(folder: Path, tmp_path: Path) -> Path:
    texts = {one.name: one.read_text() for one in (folder / "recipes").iterdir()}
    made = tmp_path / "recipes"
    made.mkdir()
    (made / "a.yaml").write_text(texts["classes.yaml"].replace("train.tsv", "absent.tsv"))
    (tmp_path / "columns.tsv").write_text("one\ttwo\tthree\tfour\n")
    (made / "b.yaml").write_text(
        texts["classes.yaml"].replace(f"{folder}/texts/dev.tsv", f"{tmp_path}/columns.tsv")
    )
    (made / "c.yaml").write_text(texts["tags.yaml"].replace("best: dev/entity_f1", "best: null"))
    (made / "d.yaml").write_text(texts["tags.yaml"])
    return made


def test_all_wrong_recipes_are_reported_before_anything_starts(
    folder: Path, wrong: Path, commands: InProcess, tmp_path: Path, capsys: Capture
) -> None:
    words = words_of(folder, "wrong", "--seeds", "1")
    words[1] = str(wrong)
    code, lines, errors = run_command(words, capsys)
    assert (code, lines, commands.started) == (EXIT_USER, [], [])
    found = errors.splitlines()
    assert len(found) == 4
    assert re.match(rf"ptm: {wrong}/a\.yaml:\d+: data\.corpus: ", found[0])
    assert re.match(rf"{wrong}/a\.yaml:\d+: data\.evaluation\.test\.corpus: ", found[1])
    assert f"{tmp_path}/columns.tsv:1: " in found[2]
    assert found[3].startswith(f"{wrong}/c.yaml: checkpoint.best: is not set")
    assert not (folder / "wrong").exists()
    code, lines, errors = run_command([*words, "--keep-going"], capsys)
    assert code == EXIT_FAULT
    assert errors.count("ptm: left out: ") == 4
    assert lines[-2].split()[:3] == ["d", "dev", "entity_f1"]


def test_results_of_other_settings_are_an_error(
    folder: Path, commands: InProcess, capsys: Capture
) -> None:
    words = words_of(folder, "other", "--seeds", "1")
    words[1] = str(folder / "recipes" / "tags.yaml")
    assert run_command(words, capsys)[0] == EXIT_DONE
    commands.started.clear()
    # What changes no result may differ.
    assert run_command([*words, "tracking.log_every=3"], capsys)[0] == EXIT_DONE
    code, _, errors = run_command([*words, "optimizer.learning_rate=0.5"], capsys)
    assert code == EXIT_USER
    assert "the run of another recipe (optimizer.learning_rate: " in errors
    assert errors.endswith("Set another folder with --out.\n")
    assert commands.started == []
    for word in ("seed=3", "init_from.source=x"):
        assert run_command([*words, word], capsys)[0] == EXIT_USER


def test_a_suite_is_not_started_on_several_ranks(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "0")
    code, _, errors = run_command(words_of(folder, "ranks"), capsys)
    assert code == EXIT_USER
    assert "Run it once, without a launcher" in errors


def test_names_of_recipes_are_those_of_their_files(tmp_path: Path) -> None:
    for name in ("b/x.yaml", "a/y.yaml", "a/x.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = recipe_files([str(tmp_path / "b"), str(tmp_path / "*" / "y.yaml")])
    assert list(found) == ["x", "y"]
    with pytest.raises(UserError, match="two recipes have the name x"):
        recipe_files([str(tmp_path)])
    with pytest.raises(UserError, match="no such recipe"):
        recipe_files([str(tmp_path / "c*")])


def test_the_set_of_a_task_is_that_of_its_best_checkpoint_without_a_test_set(
    folder: Path, tmp_path: Path
) -> None:
    plan = Plan(str(folder / "model"), ("engine.deepspeed=zero0",), 1, tmp_path)
    files = recipe_files([str(folder / "recipes")])
    tasks, errors = tasks_of(files, plan, keep_going=False)
    assert errors == {}
    assert [(one.evaluation, one.metric, one.higher_is_better) for one in tasks] == [
        ("test", "accuracy", True),
        ("dev", "entity_f1", True),
    ]
    plan = Plan(plan.model, (*plan.overrides, "checkpoint.best=dev/loss"), 1, tmp_path)
    (task, _), _ = tasks_of(files, plan, keep_going=False)
    assert (task.metric, task.higher_is_better) == ("loss", False)


@pytest.mark.slow
def test_a_suite_that_is_killed_again_and_again_has_the_same_results(folder: Path) -> None:
    def results(out: str) -> list[Any]:
        data = json.loads((folder / out / "results.json").read_text())
        return [task["seeds"] for task in data["tasks"]]

    def start(out: str) -> subprocess.Popen[bytes]:
        words = words_of(folder, out, "--seeds", "2", "train.steps=40", "checkpoint.every=1")
        return subprocess.Popen([sys.executable, "-m", "ptm", *words])

    assert start("calm").wait() == EXIT_DONE
    codes = []
    for seconds, signal_number in ((12, signal.SIGKILL), (14, signal.SIGTERM)) * 4:
        with start("storm") as process:
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
            process.send_signal(signal_number)
            codes.append(process.wait())
    assert start("storm").wait() == EXIT_DONE
    assert set(codes) - {EXIT_DONE}, "no start was interrupted"
    assert set(codes) <= {EXIT_DONE, EXIT_STOPPED, -signal.SIGKILL}
    assert results("storm") == results("calm")
