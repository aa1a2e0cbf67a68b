"""Trainings that answer questions: losses of transformers, stops, and what other commands do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertForQuestionAnswering

from ptm.cli import main
from ptm.components.objectives.scores.squad_scores import squad2_scores, squad_scores
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER
from ptm.interop.sources.open import open_source
from ptm.runs.evaluate import evaluate_source
from tests.support.classifiers import run_command
from tests.support.finetuning_curves import SETTINGS, our_losses, their_losses
from tests.support.question_texts import (
    DEV,
    as_records,
    extracting,
    paragraph,
    paragraphs,
    question,
    squad,
    write_json,
    write_lines,
    write_stores,
)
from tests.support.small_runs import Runs

POSITIONS = "model.embedding={parts: [word, position, segment], positions: 64}"
SHORT = ("train.steps=6", "tracking.log_every=2", "tracking.evaluate_every=3")
LEARNING = (
    *("train.steps=30", "tracking.log_every=10", "tracking.evaluate_every=15"),
    *("optimizer.learning_rate=1.0e-2", "checkpoint.every=15", "model.dropout=0.0"),
    "checkpoint.best=dev/f1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("questions")
    write_stores(made)
    (made / "no-answer").mkdir()
    write_stores(made / "no-answer", no_answer=True)
    return made


@pytest.fixture
def run(runs: Runs, folder: Path) -> Path:
    assert runs.train("answers", *extracting(folder), *LEARNING) == EXIT_DONE
    return runs.folder / "answers"


def gold(path: Path) -> dict[str, list[str]]:
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return {
        qa["id"]: [answer["text"] for answer in qa["answers"]]
        for article in articles
        for some in article["paragraphs"]
        for qa in some["qas"]
    }


def contexts(path: Path) -> dict[str, str]:
    return {record["id"]: record["context"] for record in as_records(paragraphs(DEV, seed=2))}


def test_evaluate_and_predict_have_the_scores_of_the_training(
    runs: Runs, run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [record for record in runs.metrics("answers") if record["split"] == "dev"]
    best = max(reports, key=lambda record: record["f1"])
    name = (run / "checkpoints" / "best").read_text(encoding="utf-8").strip()
    assert name == f"global_step{best['step']}"
    last = reports[-1]
    found = evaluate_source(open_source(str(run)), ["train.micro_batch_size=3"])
    assert (found["dev/exact_match"], found["dev/f1"]) == (last["exact_match"], last["f1"])
    assert found["dev/loss"] == pytest.approx(last["loss"], rel=1e-5)
    assert 0 < last["f1"] < 1

    # The file that SQuAD's script reads has the same scores.
    dev, out = folder / "dev.json", run / "predictions.json"
    words = ["predict", str(run), str(dev), "--format", "squad", "--out", str(out)]
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    answers, predictions = gold(dev), json.loads(out.read_text(encoding="utf-8"))
    assert predictions.keys() == answers.keys()
    scores = torch.tensor([squad_scores(predictions[name], answers[name]) for name in answers])
    assert scores.mean(dim=0).tolist() == pytest.approx([last["exact_match"], last["f1"]], abs=1e-6)
    assert f"f1 {last['f1']:.5f} on {len(answers)} questions with gold answers" in errors


def test_answers_are_characters_of_the_context(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = contexts(folder)
    unlabelled = [
        {key: value for key, value in record.items() if key != "answers"}
        for record in as_records(paragraphs(DEV, seed=2))
    ]
    outputs = []
    for path in (folder / "dev.json", write_lines(tmp_path / "dev.jsonl", unlabelled)):
        words = ["predict", str(run), str(path), "--format", "json_lines", "--n-best", "5"]
        code, lines, errors = run_command(words, capsys)
        assert code == EXIT_DONE
        assert ("gold answers" in errors) == (path.suffix == ".json")
        outputs.append([json.loads(line) for line in lines])
    assert outputs[0] == outputs[1]
    for one in outputs[0]:
        assert len(one["n_best"]) == 5
        assert one["n_best"][0]["answer"] == one["answer"]
        scores = [answer["score"] for answer in one["n_best"]]
        assert scores == sorted(scores, reverse=True)
        assert sum(answer["probability"] for answer in one["n_best"]) == pytest.approx(1)
        for answer in one["n_best"]:
            text = texts[one["id"]][answer["start"] : answer["end"]]
            assert answer["answer"] == text == text.strip()
        spans = [(answer["start"], answer["end"]) for answer in one["n_best"]]
        assert len(set(spans)) == len(spans)
    code, lines, _ = run_command(["predict", str(run), str(folder / "dev.json")], capsys)
    header, *rows = [line.split("\t") for line in lines]
    assert header == ["id", "answer", "start", "end", "probability", "score"]
    assert [row[:4] for row in rows] == [
        [one["id"], one["answer"], str(one["start"]), str(one["end"])] for one in outputs[0]
    ]


def test_the_threshold_of_an_evaluation_gives_its_best_scores(
    runs: Runs, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = folder / "no-answer"
    options = extracting(here, ", no_answer: true")
    assert runs.train("silent", *options, *LEARNING) == EXIT_DONE
    run = runs.folder / "silent"
    found = evaluate_source(open_source(str(run)), [])
    threshold = found["dev/best_f1_thresh"]
    words = ["predict", str(run), str(here / "dev.json"), "--format", "squad"]
    code, lines, errors = run_command([*words, "--no-answer-threshold", repr(threshold)], capsys)
    assert code == EXIT_DONE, errors
    answers, predictions = gold(here / "dev.json"), json.loads("\n".join(lines))
    scores = [squad2_scores(predictions[name], answers[name]) for name in answers]
    f1 = float(torch.tensor(scores).double().mean(dim=0)[1])
    assert f1 == pytest.approx(found["dev/best_f1"], abs=1e-9)
    assert found["dev/best_f1"] >= found["dev/f1"]
    share = sum(not answers[name] for name in answers) / len(answers)
    total = share * found["dev/NoAns_f1"] + (1 - share) * found["dev/HasAns_f1"]
    assert total == pytest.approx(found["dev/f1"])
    assert "" in predictions.values() or threshold > 0


@pytest.mark.parametrize("kind", ["", "no-answer"])
def test_a_stopped_training_resumes_with_identical_metrics(
    runs: Runs, folder: Path, kind: str
) -> None:
    options = (*extracting(folder / kind, ", no_answer: true" if kind else ""), *SHORT)
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=4) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")


def segments(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"token_type_ids": (tensors["segment_ids"] - 1).clamp(min=0)}


def span_loss(outputs: Any, tensors: Mapping[str, Tensor]) -> Tensor:
    """The loss of BertForQuestionAnswering, whose softmax would include the padding of a batch."""
    padding = tensors["example_ids"] == 0
    start, end = (
        F.cross_entropy(logits.masked_fill(padding, -1e30), tensors[f"{name}_positions"])
        for name, logits in (("start", outputs.start_logits), ("end", outputs.end_logits))
    )
    return (start + end) / 2


@pytest.mark.parametrize("steps", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_the_losses_are_those_of_transformers(runs: Runs, folder: Path, steps: int) -> None:
    options = (*extracting(folder), *SETTINGS, POSITIONS, f"train.steps={steps}")
    assert runs.train("curve", *options) == EXIT_DONE
    expected = their_losses(
        *(runs, options, runs.folder / "theirs", "AutoModelForQuestionAnswering", segments),
        loss_of=span_loss,
    )
    assert min(expected) < 0.8 * expected[0]
    assert our_losses(runs, "curve") == pytest.approx(expected, abs=1e-3)


def test_an_export_has_the_answers_of_the_run(
    run: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), str(tmp_path / "out"), "--to", "hf"]) == EXIT_DONE
    lines = []
    for source in (run, tmp_path / "out"):
        code, found, _ = run_command(["predict", str(source), str(folder / "dev.json")], capsys)
        assert code == EXIT_DONE
        lines.append([line.split("\t")[:4] for line in found])
    assert lines[0] == lines[1]
    model = BertForQuestionAnswering.from_pretrained(tmp_path / "out")
    assert model.config.architectures == ["BertForQuestionAnswering"]


WRONG = {
    "no-answers": (
        squad(paragraph("ann is here", {"id": "q7", "question": "who?"})),
        "the question q7 has no answers, but training and evaluation need them",
    ),
    "impossible": (
        squad(paragraph("ann", question("a", "who?", ("ann", 0)), question("b", "why?"))),
        "1 question has no answer in its context, but objective.no_answer is false",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_files_that_cannot_be_evaluated_are_errors(
    runs: Runs, folder: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    value, message = WRONG[name]
    path = write_json(tmp_path / "dev.json", value)
    recipe, *overrides = runs.arguments("x", *extracting(folder))
    evaluation = f"data.evaluation={{dev: {{corpus: {path}, store: {tmp_path}/dev}}}}"
    kept = [one for one in overrides if not one.startswith("data.evaluation=")]
    code, _, errors = run_command(["preprocess", recipe, *kept, evaluation], capsys)
    assert code == EXIT_USER
    assert message in errors
    assert not (tmp_path / "dev").exists()


def test_options_of_other_models_are_errors(
    run: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(run), str(folder / "dev.json")]
    for more, message in (
        (["--no-answer-threshold", "1"], "trained with objective.no_answer: false"),
        (["--sequence-length", "15"], "--sequence-length: 15 is too short"),
    ):
        code, _, errors = run_command([*words, *more], capsys)
        assert code == EXIT_USER
        assert message in errors
