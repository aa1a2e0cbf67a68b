"""Trainings that tag words: scores, losses of transformers, stops, and what other commands do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from seqeval.metrics import f1_score, precision_score, recall_score
from torch import Tensor

from ptm.cli import main
from ptm.components.objectives.base import EXAMPLE_NUMBERS
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.loading.rows import open_rows
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.runs.report import write_report
from ptm.text.tags import TagSet
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.finetuning_curves import SETTINGS, our_losses, their_losses
from tests.support.small_runs import Runs, vocab
from tests.support.tagged_texts import make_store, sentences, tagging, write_stores

SHORT = ("train.steps=6", "tracking.log_every=2", "tracking.evaluate_every=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tagged")
    write_stores(made)
    return made


@pytest.fixture
def tagger(runs: Runs, folder: Path) -> Path:
    """A run with a conditional random field that has learned most of the tags."""
    options = (
        *("train.steps=40", "tracking.log_every=20", "tracking.evaluate_every=20"),
        *("optimizer.learning_rate=1.0e-2", "checkpoint.every=20", "model.dropout=0.0"),
        *("checkpoint.best=dev/entity_f1", "train.early_stopping={metric: dev/entity_recall}"),
    )
    assert runs.train("tagger", *tagging(folder, ", crf: true"), *options) == EXIT_DONE
    return runs.folder / "tagger"


def test_scores_are_reported_and_choose_the_best_checkpoint(runs: Runs, tagger: Path) -> None:
    records = [record for record in runs.metrics("tagger") if record["split"] == "dev"]
    scores = {record["step"]: record["entity_f1"] for record in records}
    assert max(scores.values()) > 0.5
    best = (tagger / "checkpoints" / "best").read_text(encoding="utf-8").strip()
    assert best == f"global_step{max(scores, key=lambda step: scores[step])}"
    assert "dev entity f1" in write_report(tagger).read_text(encoding="utf-8")


def test_evaluate_finds_what_training_reported(runs: Runs, tagger: Path) -> None:
    last = runs.metrics("tagger")[-1]
    found = evaluate_source(open_source(str(tagger)), ["train.micro_batch_size=3"])
    for name in ("entity_f1", "entity_precision", "entity_recall"):
        assert found[f"dev/{name}"] == last[name]
    assert found["dev/accuracy"] == pytest.approx(last["accuracy"])
    assert found["dev/loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert "dev/perplexity" not in found


@pytest.mark.parametrize("crf", ["true", "false"])
def test_a_stopped_training_resumes_with_identical_metrics(
    runs: Runs, folder: Path, crf: str
) -> None:
    options = (*tagging(folder, f", crf: {crf}"), *SHORT)
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=4) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")


# transformers and seqeval


POSITIONS = "model.embedding={parts: [word, position, segment], positions: 64}"


@pytest.mark.parametrize("steps", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_the_losses_are_those_of_transformers(runs: Runs, folder: Path, steps: int) -> None:
    options = (*tagging(folder), *SETTINGS, POSITIONS, f"train.steps={steps}")
    assert runs.train("curve", *options) == EXIT_DONE

    def arguments(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"labels": torch.where(tensors["word_numbers"] > 0, tensors["tags"], -100)}

    expected = their_losses(
        runs, options, runs.folder / "theirs", "AutoModelForTokenClassification", arguments
    )
    assert expected[-1] < 0.8 * expected[0]
    assert our_losses(runs, "curve") == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_scores_over_windows_are_those_of_seqeval_over_sentences(
    runs: Runs, tmp_path: Path, scheme: Any
) -> None:
    write_stores(tmp_path, scheme=scheme)
    overrides = ("data.sequence_length=12", "objective.constrained_decoding=false")
    recipe, *others = runs.arguments("x", *tagging(tmp_path, f", scheme: {scheme}"), *overrides)
    loaded = load_recipe(recipe, others)
    rows = open_rows(loaded, loaded.tokenizer.load(), split="dev")
    true = [tags for _, tags in sentences(37, seed=2, scheme=scheme)]
    assert rows.lengths.size > len(true), "some sentences have several windows"
    batch = rows.micro_batch(np.arange(len(rows)), np.zeros(len(rows), np.int64))
    tensors = {name: torch.from_numpy(array) for name, array in batch.tensors.items()}
    names = rows.objective.label_set.names  # type: ignore[union-attr]
    # Mostly the true tags, and others here and there.
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.nn.functional.one_hot(tensors["tags"], len(names)).float()
    logits += torch.randn(logits.shape, generator=generator)
    arrays = rows.objective.predictions({"tag_logits": logits}, tensors)
    order = arrays[EXAMPLE_NUMBERS].argsort(stable=True)
    order = order[arrays[EXAMPLE_NUMBERS][order] > 0]
    ordered = {name: array[order].numpy() for name, array in arrays.items()}
    following = iter([names[index] for index in ordered["predicted"]])
    predicted = [[next(following) for _ in tags] for tags in true]
    assert rows.objective.compute_scores(ordered) == pytest.approx(
        {
            "entity_f1": f1_score(true, predicted),
            "entity_precision": precision_score(true, predicted),
            "entity_recall": recall_score(true, predicted),
        },
        abs=1e-12,
    )
    assert 0.1 < f1_score(true, predicted) < 0.9


# Other models and commands


def test_tagging_starts_from_a_masked_language_model(
    runs: Runs, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert runs.train("mlm", "train.steps=2", "data.sequence_length=64") == EXIT_DONE
    start = f"init_from={runs.folder / 'mlm'}"
    assert runs.train("started", *tagging(folder, ", crf: true"), *SHORT, start) == EXIT_DONE
    assert "initialised: crf.weight, tag_classifier.bias, tag_classifier.weight" in caplog.text
    assert "entity_f1" in caplog.text.rpartition("before -> after")[2]


def test_a_causal_encoder_tags_words(runs: Runs, folder: Path) -> None:
    causal = "model.encoder={type: lstm, layers: 1, hidden_size: 32}"
    embedding = "model.embedding={parts: [word], layer_norm: false}"
    assert runs.train("causal", *tagging(folder), *SHORT, causal, embedding) == EXIT_DONE


def test_plain_tags_have_a_macro_f1(runs: Runs, tmp_path: Path) -> None:
    tags = TagSet(("NOUN", "VERB"), scheme="plain")
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab()))
    for name in ("train", "dev"):
        text = "we see\tNOUN VERB\nsee we see\tVERB NOUN VERB\n" * 20
        make_store(tmp_path / name, text, tokenizer=tokenizer, tags=tags)
    plain = "objective={type: tagging, labels: [NOUN, VERB], scheme: plain, crf: true}"
    assert runs.train("plain", *tagging(tmp_path), *SHORT, plain) == EXIT_DONE
    last = runs.metrics("plain")[-1]
    assert 0 < last["macro_f1"] <= 1
    assert "entity_f1" not in last


def test_a_tag_that_only_the_evaluation_set_has_is_named(
    runs: Runs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab()))
    make_store(tmp_path / "train", "we see\tB-PER O\n" * 20, tokenizer=tokenizer)
    make_store(tmp_path / "dev", "we see\tB-PER B-LOC\n" * 20, tokenizer=tokenizer)
    assert runs.train("unseen", *tagging(tmp_path), *SHORT) == EXIT_DONE
    assert 'no training word has the tag "I-PER", "B-LOC", "I-LOC", so it cannot' in caplog.text
    assert '(set dev): the tag "B-LOC" occurs in this evaluation set but at no tr' in caplog.text


def test_a_batch_is_shown_with_its_tags(
    runs: Runs, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", *runs.arguments("x", *tagging(folder)), "--batch"]) == 0
    printed = capsys.readouterr().out
    # The further tokens of a word have no tag.
    assert "看<O> 书 b<O> ##3 " in printed
    assert "b<I-PER> ##o ##b ##b ##y " in printed


def test_an_export_names_what_it_does_not_write(
    tagger: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, reason in (
        (["--to", "hf"], "objective.crf = true scores whole sequences of tags"),
        (["--to", "uer"], "UER-py configs cannot express"),
    ):
        assert main(["export", str(tagger), str(tmp_path / "o"), *words]) == EXIT_USER
        assert reason in capsys.readouterr().err
    assert main(["fill", str(tagger), "看[MASK]"]) == EXIT_USER
    assert "objective tagging cannot fill masks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("labels: [O, B-PER, I-PER]", "was made with the labels [O, B-PER, I-PER, B-LOC, I-LOC]"),
        (
            "labels: [O, B-PER, I-PER, B-LOC, I-LOC], scheme: plain",
            "was made with objective.scheme = bio, but the recipe has plain",
        ),
    ],
)
def test_a_store_of_other_tags_is_rejected(
    runs: Runs, folder: Path, options: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        runs.train("other", *tagging(folder), f"objective={{type: tagging, {options}}}")
    assert message in str(caught.value)
    assert not (runs.folder / "other").exists()
