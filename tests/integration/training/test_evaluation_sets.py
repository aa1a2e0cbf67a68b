"""Named evaluation sets beside the held-out split; evaluation before a warm-started training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, UserError
from ptm.interop.sources.open import open_source
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.runs.report import write_report
from ptm.train.trackers import tracker_values
from ptm.train.validate import Verdict, check_recipe
from tests.support.small_runs import QUICKSTART, Runs

SHORT = ("train.steps=4", "tracking.log_every=2", "tracking.evaluate_every=2")


@pytest.fixture
def news(tmp_path: Path) -> str:
    """An override that adds an evaluation set, whose store does not exist yet."""
    text = (QUICKSTART / "corpus" / "chinese.txt").read_text(encoding="utf-8").splitlines()
    corpus = tmp_path / "news.txt"
    corpus.write_text("\n".join(text[:40]) + "\n", encoding="utf-8")
    return f"data.evaluation={{news: {{corpus: {corpus}, store: {tmp_path / 'news-store'}}}}}"


@pytest.fixture
def made(runs: Runs, news: str) -> str:
    """The same override, with its store created by `ptm preprocess`."""
    assert main(["preprocess", *runs.arguments("made", news)]) == EXIT_DONE
    return news


def test_preprocess_creates_the_stores_of_evaluation_sets(runs: Runs, made: str) -> None:
    recipe, *overrides = runs.arguments("made", made)
    assert check_recipe(load_recipe(recipe, overrides), need_inputs=True) == Verdict((), None)


def test_a_missing_store_is_an_error_that_names_the_command(runs: Runs, news: str) -> None:
    with pytest.raises(UserError, match=r"evaluation\.news\.store: .* `ptm preprocess RECIPE`"):
        runs.train("missing", news)
    assert not (runs.folder / "missing").exists()


def test_a_set_that_is_not_for_training_is_evaluated_by_evaluate_alone(
    runs: Runs, news: str
) -> None:
    spared = f"{news[:-2]}, during_training: false}}}}"
    # Not even its store is needed.
    assert runs.train("spared", spared, *SHORT) == EXIT_DONE
    assert {record["split"] for record in runs.metrics("spared")} == {"train", "eval"}
    assert main(["preprocess", *runs.arguments("spared", spared)]) == EXIT_DONE
    found = evaluate_source(open_source(str(runs.folder / "spared")), [])
    assert found["news/loss"] > 0
    assert found["loss"] > 0


def test_a_set_that_is_not_for_training_chooses_no_checkpoint(runs: Runs, news: str) -> None:
    spared = f"{news[:-2]}, during_training: false}}}}"
    message = r'"news/loss" is not measured during training: data\.evaluation\.news has'
    for rule in ("checkpoint.best=news/loss", "train.early_stopping={metric: news/loss}"):
        with pytest.raises(UserError, match=message):
            runs.train("rejected", spared, rule)
    with pytest.raises(UserError, match="needs an evaluation set"):
        runs.train("rejected", spared, "data.held_out=0", "checkpoint.best=news/loss")


def test_every_set_is_reported_under_its_own_name(runs: Runs, made: str) -> None:
    assert runs.train("named", made, *SHORT) == EXIT_DONE
    assert runs.train("plain", *SHORT) == EXIT_DONE
    named, plain = runs.metrics("named"), runs.metrics("plain")
    news = [record for record in named if record["split"] == "news"]
    assert [record["step"] for record in news] == [2, 4]
    assert [record for record in named if record["split"] != "news"] == plain
    assert {"loss", "perplexity", "mlm_accuracy"} <= news[-1].keys()
    assert news[-1]["loss"] != plain[-1]["loss"]
    assert "news/loss" in tracker_values(news[-1])
    page = write_report([runs.folder / "named"]).read_text(encoding="utf-8")
    assert "news perplexity" in page


def test_a_named_evaluation_set_is_enough_without_a_held_out_split(runs: Runs, made: str) -> None:
    best = ("data.held_out=0", "checkpoint.best=news/loss")
    stop = "train.early_stopping={metric: news/mlm_accuracy, patience: 9}"
    assert runs.train("named", made, *SHORT, *best, stop) == EXIT_DONE
    assert {record["split"] for record in runs.metrics("named")} == {"train", "news"}
    marked = (runs.folder / "named" / "checkpoints" / "best").read_text(encoding="utf-8").strip()
    losses = {r["step"]: r["loss"] for r in runs.metrics("named") if r["split"] == "news"}
    assert marked == f"global_step{min(losses, key=lambda step: losses[step])}"


@pytest.mark.parametrize("metric", ["loss", "new/loss"])
def test_a_metric_that_is_not_measured_is_rejected(runs: Runs, made: str, metric: str) -> None:
    recipe, *overrides = runs.arguments("x", made, "data.held_out=0", f"checkpoint.best={metric}")
    with pytest.raises(
        UserError, match=rf'"{metric}" is not a metric of this recipe. Choose one of: .*news/loss'
    ):
        load_recipe(recipe, overrides)


@pytest.mark.parametrize("name", ["train", "eval", "perf"])
def test_a_reserved_name_is_rejected(runs: Runs, name: str) -> None:
    taken = f"data.evaluation={{{name}: {{corpus: a, store: b}}}}"
    recipe, *overrides = runs.arguments("x", taken)
    with pytest.raises(UserError, match="has a fixed meaning"):
        load_recipe(recipe, overrides)


def test_the_training_store_is_rejected_as_an_evaluation_set(runs: Runs) -> None:
    same = f"data.evaluation={{news: {{corpus: news.txt, store: {runs.store}}}}}"
    with pytest.raises(
        UserError, match=r"evaluation.news.store: .* is also the store of data.store"
    ):
        runs.train("same", same)


def test_evaluate_computes_the_metrics_that_training_reported(runs: Runs, made: str) -> None:
    assert runs.train("named", made, *SHORT) == EXIT_DONE
    found = evaluate_source(open_source(str(runs.folder / "named")), [])
    for record in runs.metrics("named")[-2:]:
        prefix = "" if record["split"] == "eval" else f"{record['split']}/"
        assert found[f"{prefix}loss"] == pytest.approx(record["loss"], rel=1e-5)
        assert found[f"{prefix}perplexity"] == pytest.approx(record["perplexity"], rel=1e-5)
    assert found["news/store"].endswith("news-store")


# Before and after


def test_a_run_with_a_warm_start_is_evaluated_before_its_first_step(
    runs: Runs, made: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs.train("first", made, *SHORT) == EXIT_DONE
    caplog.clear()
    assert runs.train("second", made, f"init_from={runs.folder / 'first'}", *SHORT) == EXIT_DONE
    final = [record for record in runs.metrics("first") if record["step"] == 4][1:]
    before = [record for record in runs.metrics("second") if record["step"] == 0]
    assert [record["split"] for record in before] == ["eval", "news"]
    for one, other in zip(before, final, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert one["perplexity"] == pytest.approx(other["perplexity"], rel=1e-6)
    after = runs.metrics("second")[-1]
    wanted = f"news, before -> after: loss {before[1]['loss']:.4f} -> {after['loss']:.4f}"
    assert wanted in caplog.text
    page = write_report([runs.folder / "second"]).read_text(encoding="utf-8")
    assert f"{before[1]['loss']:.4f} → {after['loss']:.4f}" in page


def test_a_run_from_initial_weights_is_not_evaluated_before_its_first_step(runs: Runs) -> None:
    assert runs.train("first", *SHORT) == EXIT_DONE
    assert min(record["step"] for record in runs.metrics("first")) > 0


def test_the_evaluation_before_the_first_step_survives_a_stop(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs.train("first", *SHORT) == EXIT_DONE
    begin = (f"init_from={runs.folder / 'first'}", *SHORT)
    assert runs.train("calm", *begin) == EXIT_DONE
    runs.train("stopped", *begin, "train.wall_time_hours=1e-9")
    assert runs.train("stopped", *begin) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")
    messages = [record.getMessage() for record in caplog.records]
    calm, stopped = (one for one in messages if one.startswith("eval, before -> after: loss "))
    assert stopped == calm


def test_a_restart_without_a_checkpoint_repeats_the_first_evaluation(runs: Runs) -> None:
    assert runs.train("first", *SHORT) == EXIT_DONE
    begin = (f"init_from={runs.folder / 'first'}", *SHORT)
    assert runs.train("second", *begin) == EXIT_DONE
    reports = runs.metrics("second")
    for path in (runs.folder / "second" / "checkpoints").iterdir():
        for file in [path] if path.is_file() else list(path.iterdir()):
            file.unlink()
    for path in (runs.folder / "second" / "checkpoints").iterdir():
        path.rmdir()
    assert runs.train("second", *begin) == EXIT_DONE
    assert runs.metrics("second") == reports
    assert sum(record["step"] == 0 for record in reports) == 1


def test_the_evaluation_before_training_is_reported_as_step_zero(runs: Runs) -> None:
    assert runs.train("first", *SHORT) == EXIT_DONE
    assert runs.train("second", f"init_from={runs.folder / 'first'}", *SHORT) == EXIT_DONE
    lines = (runs.folder / "second" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(lines[0])
    assert (first["step"], first["split"], first["tokens"]) == (0, "eval", 0)


@pytest.fixture
def nothing(runs: Runs, tmp_path: Path) -> str:
    """An evaluation set in a script that the vocabulary lacks, so that nothing can be predicted."""
    corpus = tmp_path / "tibetan.txt"
    lines = (" ".join(["བོད་ཀྱི་སྐད་ཡིག"] * words) for words in range(1, 21))
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    override = f"data.evaluation={{bo: {{corpus: {corpus}, store: {tmp_path / 'bo-store'}}}}}"
    assert main(["preprocess", *runs.arguments("made", override)]) == EXIT_DONE
    return override


def test_a_set_with_nothing_to_predict_is_null_and_never_the_best(
    runs: Runs, nothing: str, caplog: pytest.LogCaptureFixture
) -> None:
    best = "checkpoint.best=bo/loss"
    assert runs.train("unmeasured", nothing, best, *SHORT) == EXIT_DONE
    record = runs.metrics("unmeasured")[-1]
    assert (record["split"], record["loss"], record["perplexity"]) == ("bo", None, None)
    assert not (runs.folder / "unmeasured" / "checkpoints" / "best").exists()
    assert "bo: null for loss, mlm_loss, mlm_accuracy, perplexity" in caplog.text
    found = evaluate_source(open_source(str(runs.folder / "unmeasured")), [])
    assert found["bo/loss"] is None
    assert found["loss"] > 0


def test_a_training_with_nothing_to_predict_does_not_start(
    runs: Runs, nothing: str, tmp_path: Path
) -> None:
    store = f"data.store={tmp_path / 'bo-store'}"
    with pytest.raises(UserError, match="objective mlm has nothing to predict in any of"):
        runs.train("nothing", store)
    assert not (runs.folder / "nothing" / "recipe.yaml").exists()
