"""Trainings of classifiers: weights and scores, stops, warm starts, and what other commands do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, UserError
from ptm.inference.embed import Embedder
from ptm.interop.sources.open import open_source
from ptm.loading.batches import evaluation_batches
from ptm.loading.rows import TRAIN, open_rows
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.runs.report import write_report
from ptm.train.trackers import tracker_values
from tests.support.labelled_texts import classifying, lines, write_corpora, write_stores
from tests.support.small_runs import Runs

SHORT = ("train.steps=6", "tracking.log_every=2", "tracking.evaluate_every=3")
WEIGHTS = (0.002, 0.01, 0.03)
"""The weights of a step add up to less than 1."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("labelled")
    write_corpora(made)
    write_stores(made)
    return made


@pytest.fixture
def classifier(runs: Runs, folder: Path) -> Path:
    """A trained classifier."""
    best = ("checkpoint.best=dev/macro_f1", "train.early_stopping={metric: dev/accuracy}")
    assert runs.train("classifier", *classifying(folder), *SHORT, *best) == EXIT_DONE
    return runs.folder / "classifier"


def test_scores_are_reported_and_choose_the_best_checkpoint(runs: Runs, classifier: Path) -> None:
    records = [record for record in runs.metrics("classifier") if record["split"] == "dev"]
    scores = {record["step"]: record["macro_f1"] for record in records}
    best = (classifier / "checkpoints" / "best").read_text(encoding="utf-8").strip()
    assert best == f"global_step{max(scores, key=lambda step: scores[step])}"
    assert "dev/macro_f1" in tracker_values(records[-1])
    page = write_report(classifier).read_text(encoding="utf-8")
    assert "dev macro f1" in page
    assert "perplexity" not in page


def test_evaluate_finds_what_training_reported(runs: Runs, classifier: Path) -> None:
    last = runs.metrics("classifier")[-1]
    found = evaluate_source(open_source(str(classifier)), ["train.micro_batch_size=3"])
    assert found["dev/macro_f1"] == last["macro_f1"]
    assert found["dev/accuracy"] == pytest.approx(last["accuracy"])
    assert found["dev/loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert "dev/perplexity" not in found


def test_a_stopped_classifier_resumes_with_identical_metrics(runs: Runs, folder: Path) -> None:
    options = (*classifying(folder, ", pooling: mean, mlm: {masking: {unit: token}}"), *SHORT)
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=4) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")


def test_accumulated_steps_have_the_weighted_mean_of_torch(runs: Runs, folder: Path) -> None:
    weights = f", class_weights: [{', '.join(map(str, WEIGHTS))}]"
    options = (
        *classifying(folder, weights),
        *("model.dropout=0.0", "train.steps=1", "tracking.log_every=1", "data.packing=true"),
        *("train.global_batch_size=8", "train.micro_batch_size=2"),
    )
    assert runs.train("weighted", *options) == EXIT_DONE
    recipe, *overrides = runs.arguments("weighted", *options)
    loaded = load_recipe(recipe, overrides)
    rows = open_rows(loaded, loaded.tokenizer.load(), split=TRAIN)
    model = PlainModel(
        build_plan(loaded.model, rows.objective, vocabulary_size=rows.vocabularies.source.size)
    ).eval()
    initialise(model, loaded.model, seed=loaded.seed)
    logits, labels, total = [], [], 0.0
    for part in rows.micro_batches(torch.arange(8).numpy(), size=2):
        tensors = {name: torch.from_numpy(array) for name, array in part.tensors.items()}
        with torch.no_grad():
            logits.append(model(tensors)["class_logits"])
        labels.append(tensors["class_labels"])
        total += part.counts["example_weights"]
    expected = F.cross_entropy(torch.cat(logits), torch.cat(labels), torch.tensor(WEIGHTS))
    assert runs.metrics("weighted")[0]["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert total < 1


def test_each_example_of_a_set_is_evaluated_once(folder: Path, runs: Runs) -> None:
    recipe, *overrides = runs.arguments("x", *classifying(folder))
    loaded = load_recipe(recipe, overrides)
    rows = open_rows(loaded, loaded.tokenizer.load(), split="dev")
    seen: list[int] = []
    for rank in range(2):
        for batch in evaluation_batches(rows, 3, data_parallel_rank=rank, data_parallel_size=2):
            seen += [n for n in batch.micro_batches[0]["example_numbers"].tolist() if n]
    assert sorted(seen) == list(range(1, rows.lengths.size + 1))


# Other models and commands


def test_a_classifier_starts_from_a_masked_language_model(
    runs: Runs, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs.train("mlm", "train.steps=2", "data.sequence_length=64") == EXIT_DONE
    start = f"init_from={runs.folder / 'mlm'}"
    assert runs.train("started", *classifying(folder), *SHORT, start) == EXIT_DONE
    assert "initialised: classifier.bias, classifier.weight, pooler.dense.bias" in caplog.text
    first = runs.metrics("started")[0]
    assert (first["step"], first["split"]) == (0, "dev")
    assert "dev, before -> after: loss" in caplog.text
    assert "macro_f1" in caplog.text.rpartition("before -> after")[2]


def test_a_classifier_embeds_but_does_not_generate_or_fill(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = Embedder(open_source(str(classifier))).sentences(
        ["看书"], places=["x"], pooling="mean"
    )
    assert vectors.shape == (1, 32)
    for words, reason in (
        (["generate", str(classifier), "看书"], "objective classification cannot generate text"),
        (["fill", str(classifier), "看[MASK]"], "objective classification cannot fill masks"),
    ):
        capsys.readouterr()
        assert main(words) == EXIT_USER
        assert reason in capsys.readouterr().err


def test_the_card_of_an_export_has_the_scores_of_the_evaluation_set(
    classifier: Path, tmp_path: Path
) -> None:
    assert main(["export", str(classifier), str(tmp_path / "out"), "--to", "hf"]) == EXIT_DONE
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-classification" in card
    assert "AutoModelForSequenceClassification.from_pretrained" in card
    assert "| dev macro_f1 | 0." in card


# Labels that do not fit


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Corpora and stores that a test may change."""
    write_corpora(tmp_path)
    write_stores(tmp_path)
    return tmp_path


def error_of(runs: Runs, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        runs.train("rejected", *overrides)
    assert not (runs.folder / "rejected").exists()
    return str(caught.value)


def rewritten(folder: Path, name: str, kept: list[str]) -> None:
    (folder / f"{name}.tsv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    for path in sorted((folder / name).iterdir()):
        path.unlink()
    (folder / name).rmdir()
    write_stores(folder)


def test_a_store_of_other_labels_is_rejected(runs: Runs, own: Path) -> None:
    found = error_of(runs, *classifying(own), "objective.labels=[short, english, tall]")
    assert "was made with the labels [short, english, long], but the recipe has" in found
    assert "[short, english, tall]" in found


def test_a_label_that_only_the_evaluation_set_has_is_rejected(runs: Runs, own: Path) -> None:
    rewritten(own, "train", [one for one in lines(61, first=0) if not one.startswith("long")])
    found = error_of(runs, *classifying(own))
    assert '(set dev): the label "long" occurs in this evaluation set but in no train' in found


def test_one_label_alone_is_rejected(runs: Runs, own: Path) -> None:
    only = [one for one in lines(61, first=0) if one.startswith("long")]
    rewritten(own, "train", only)
    rewritten(own, "dev", only[:4])
    assert 'every training example has the label "long"' in error_of(runs, *classifying(own))


def test_pairs_are_rejected_where_training_has_singles(runs: Runs, own: Path) -> None:
    rewritten(own, "dev", lines(9, first=0, texts=2))
    found = error_of(runs, *classifying(own))
    assert "(set dev): the examples are pairs of texts, but those of the training are" in found


def test_texts_that_are_cut_are_reported(
    runs: Runs, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: tuple[Any, ...] = (*classifying(folder), *SHORT, "data.sequence_length=16")
    assert runs.train("cut", *options) == EXIT_DONE
    assert "left out of the examples of the first epoch: " in caplog.text
    assert "left out of the evaluation set dev: " in caplog.text
    assert "tokens cut off (examples too long for a row: " in caplog.text
