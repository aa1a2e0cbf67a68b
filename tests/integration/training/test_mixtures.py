"""Trainings on a mixture: shares, losses per source and their mean, resumes, changed sources."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.loading.splits import open_training_rows
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.train.trackers import tracker_values
from ptm.train.validate import check_recipe
from tests.support.mixtures import RECIPE, mixed, preprocess_mixture, write_mixture
from tests.support.small_runs import Runs, small_overrides

WEIGHTS = {"english": 0.7, "chinese": 0.3}
SOURCES = tuple(WEIGHTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    write_mixture(folder)
    return folder


@pytest.fixture(scope="module")
def trained(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """A training of the mixture called `whole`."""
    runs = Runs(made / "stores", tmp_path_factory.mktemp("runs"))
    assert runs.train("whole", *mixed(made, "model.dropout=0.1")) == EXIT_DONE
    return runs


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy of the corpora and stores, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "own"))


def last(reports: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The last report of each split."""
    return {report["split"]: report for report in reports}


def test_the_mixture_reports_the_mean_of_its_sources_weighted_by_their_shares(
    trained: Runs,
) -> None:
    found = last(trained.metrics("whole"))
    assert set(found) == {"train", "eval", *SOURCES}
    assert found["english"]["loss"] != found["chinese"]["loss"]
    for metric in ("loss", "mlm_loss", "mlm_accuracy"):
        mean = sum(weight * found[name][metric] for name, weight in WEIGHTS.items())
        assert found["eval"][metric] == pytest.approx(mean, rel=1e-12)
    for split in ("eval", *SOURCES):
        assert found[split]["perplexity"] == pytest.approx(math.exp(found[split]["loss"]))


def test_the_loss_of_a_source_is_that_of_its_store_alone(made: Path, trained: Runs) -> None:
    overrides = ["data.corpus=any", f"data.store={made}/stores/chinese", "data.held_out=0.1"]
    alone = evaluate_source(open_source(str(trained.folder / "whole")), overrides)
    found = last(trained.metrics("whole"))["chinese"]
    assert alone["loss"] == pytest.approx(found["loss"], rel=1e-5)


def test_realised_shares_are_reported(trained: Runs) -> None:
    reports = [report for report in trained.metrics("whole") if report["split"] == "train"]
    for report in reports:
        shares = {name: report[f"share/{name}"] for name in SOURCES}
        assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-5)
        # At most (1 + 2 w) / 2 rows apart.
        assert abs(shares["english"] - 0.7) <= 1.2 / report["rows"] + 1e-6
    assert tracker_values(reports[-1])["share/english"] == reports[-1]["share/english"]
    assert all("share/english" not in one for one in trained.metrics("whole") if one not in reports)


def test_a_stopped_run_resumes_with_identical_reports(made: Path, trained: Runs) -> None:
    changed = mixed(made, "model.dropout=0.1")
    assert trained.train("stopped", *changed, stop_at=5) == EXIT_STOPPED
    assert trained.train("stopped", *changed) == EXIT_DONE
    assert trained.metrics("stopped") == trained.metrics("whole")


def test_evaluate_has_the_metrics_of_the_last_report(trained: Runs) -> None:
    found = evaluate_source(open_source(str(trained.folder / "whole")), [])
    reported = last(trained.metrics("whole"))
    assert found["loss"] == pytest.approx(reported["eval"]["loss"], rel=1e-5)
    assert found["perplexity"] == pytest.approx(reported["eval"]["perplexity"], rel=1e-5)
    for name in SOURCES:
        assert found[f"{name}/loss"] == pytest.approx(reported[name]["loss"], rel=1e-5)
    assert found["rows"] == sum(found[f"{name}/rows"] for name in SOURCES)


def test_the_best_checkpoint_may_be_that_of_a_source(made: Path, trained: Runs) -> None:
    best = ("checkpoint.best=chinese/loss", "tracking.evaluate_every=2", "train.steps=6")
    stop = "train.early_stopping={metric: loss, patience: 9}"
    assert trained.train("best", *mixed(made), *best, stop) == EXIT_DONE
    losses = {r["step"]: r["loss"] for r in trained.metrics("best") if r["split"] == "chinese"}
    marked = (trained.folder / "best" / "checkpoints" / "best").read_text(encoding="utf-8").strip()
    assert marked == f"global_step{min(losses, key=lambda step: losses[step])}"


@pytest.mark.parametrize(
    "change",
    [
        "data.corpus.english.weight=0.6",
        "data.exhaustion=stop",
        "data.corpus.third={store: elsewhere, weight: 0.1}",
    ],
)
def test_a_resume_with_another_mixture_is_rejected(made: Path, runs: Runs, change: str) -> None:
    steps = ("train.steps=4", "checkpoint.every=2")
    assert runs.train("changed", *mixed(made), *steps, stop_at=2) == EXIT_STOPPED
    key = change.partition("=")[0]
    recipe, *overrides = runs.arguments("changed", *mixed(made), *steps, change)
    assert key in str(check_recipe(load_recipe(recipe, overrides), need_inputs=False).obstacle)


def test_a_resume_with_another_store_of_a_source_is_rejected(own: Path, runs: Runs) -> None:
    steps = ("train.steps=4", "checkpoint.every=2")
    assert runs.train("changed", *mixed(own), *steps, stop_at=2) == EXIT_STOPPED
    with (own / "chinese.txt").open("a", encoding="utf-8") as corpus:
        corpus.write("新的一行。\n")
    assert preprocess_mixture(own, *mixed(own), fresh=True) == EXIT_DONE
    with pytest.raises(
        UserError, match=r'other data than data\.store = "[^ ]*/chinese" contains now'
    ):
        runs.train("changed", *mixed(own), *steps)


def test_flipped_tokens_of_any_source_are_found_when_a_training_starts(
    own: Path, runs: Runs
) -> None:
    shard = next((own / "stores" / "chinese").glob("shard-*.bin"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match="chinese/shard"):
        runs.train("flipped", *mixed(own))


@pytest.mark.parametrize("exhaustion", ["repeat", "stop"])
def test_epochs_are_those_of_the_exhaustion_rule(made: Path, runs: Runs, exhaustion: str) -> None:
    rule = (f"data.exhaustion={exhaustion}", "train.steps=null", "train.epochs=1")
    # Together three rows of the Chinese source for one of the English one.
    changes = mixed(made, *rule, "schedule.warmup=0", weights=(1, 3))
    recipe, *overrides = runs.arguments("epochs", *changes)
    loaded = load_recipe(recipe, overrides)
    rows = open_training_rows(loaded, loaded.tokenizer.load())
    assert runs.train("epochs", *changes) == EXIT_DONE
    ended = last(runs.metrics("epochs"))["train"]
    assert ended["step"] == math.ceil(len(rows) / 8)
    read = {name: ended[f"share/{name}"] * ended["rows"] for name in SOURCES}
    passes = {name: read[name] / len(rows.sources[name]) for name in SOURCES}
    # A step has 8 rows, so the epoch may be exceeded by 7.
    if exhaustion == "repeat":
        assert 1 <= min(passes.values()) < 1.3 < max(passes.values())
    else:
        assert min(passes.values()) < 0.9 < 1 <= max(passes.values()) < 1.3


def test_validate_prints_the_rows_of_each_source(
    made: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *runs.arguments("validated", *mixed(made))]) == EXIT_DONE
    printed = capsys.readouterr().out
    assert "\nsource english: 69.79 % of the rows; 67 rows = " in printed
    assert "\nsource chinese: 30.21 % of the rows; 29 rows = " in printed


def test_a_missing_store_of_a_source_is_named(own: Path, runs: Runs) -> None:
    recipe, *overrides = runs.arguments("missing", *mixed(own))
    assert check_recipe(load_recipe(recipe, overrides), need_inputs=True).unchecked == ()
    shutil.rmtree(own / "stores" / "english")
    found = check_recipe(load_recipe(recipe, overrides), need_inputs=False)
    (sentence,) = found.unchecked
    assert 'stores/english" does not exist; `ptm preprocess` creates it.' in sentence
    store = f"data.corpus.english={{store: {own}/absent, weight: 1}}"
    with pytest.raises(UserError, match=r"data\.corpus\.english\.store: .*absent. does not exist"):
        check_recipe(load_recipe(recipe, [*overrides, store]), need_inputs=True)


def test_swapped_sources_are_found_before_and_at_a_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mixture(tmp_path)
    words = small_overrides(tmp_path / "stores", tmp_path, "mixture", *mixed(tmp_path))
    assert main(["validate", "--inputs", RECIPE, *words]) == EXIT_DONE
    english, chinese = tmp_path / "english.txt", tmp_path / "chinese.txt"
    english.rename(tmp_path / "other")
    chinese.rename(english)
    (tmp_path / "other").rename(chinese)
    capsys.readouterr()
    assert main(["validate", "--inputs", RECIPE, *words]) == EXIT_USER
    sentences = capsys.readouterr().err.splitlines()
    for name, sentence in zip(("english", "chinese"), sentences, strict=True):
        assert f'stores/{name}" was not made from the files of data.corpus.{name}.files' in sentence
        assert f'{name}.txt" has ' in sentence
        assert "Run `ptm preprocess RECIPE --fresh`" in sentence
    assert main(["train", RECIPE, *words, "train.steps=1"]) == EXIT_DONE
    log = (tmp_path / "mixture" / "train.log").read_text(encoding="utf-8")
    assert log.count("was not made from the files") == 2
    # A corpus that is elsewhere is no mistake.
    english.unlink()
    chinese.unlink()
    assert main(["validate", "--inputs", RECIPE, *words]) == EXIT_DONE
