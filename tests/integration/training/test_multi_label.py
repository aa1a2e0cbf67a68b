"""Texts with several labels or none: stores of every format, training, scores and predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F

from ptm.cli import main
from ptm.components.objectives.scores.class_scores import multi_label_f1
from ptm.data.documents import Documents
from ptm.data.labelled import labelled_texts
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER, UserError
from ptm.interop.sources.open import open_source
from ptm.loading.rows import TRAIN, open_rows
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe import load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.store.reader import TokenStore
from tests.support.classifiers import run_command
from tests.support.labelled_texts import lines
from tests.support.small_runs import Runs

LABELS = ("chinese", "long", "x")
SHORT = ("train.steps=4", "tracking.log_every=1", "tracking.evaluate_every=2")
Capture = pytest.CaptureFixture[str]


def examples(count: int, first: int = 0) -> list[tuple[list[str], str]]:
    """Texts with none to three labels."""
    found = []
    for number, line in enumerate(lines(count, first=first)):
        text = line.split("\t")[1]
        labels = ["chinese"] * (not text.isascii()) + ["long"] * (len(text) > 60)
        found.append((labels + ["x"] * (number % 7 == 0), text))
    return found


def write_lines(path: Path, rows: Sequence[tuple[list[str], str]], separator: str = ",") -> None:
    path.write_text("".join(f"{separator.join(labels)}\t{text}\n" for labels, text in rows))


def training(folder: Path, options: str = "", corpus: str = "train.tsv") -> tuple[str, ...]:
    """Overrides of a training on the corpora of `folder`."""
    labels = ", ".join(LABELS)
    return (
        f"objective={{type: multi_label_classification, labels: [{labels}]{options}}}",
        *("data.layout=labelled", "data.held_out=0", f"data.corpus={folder}/{corpus}"),
        f"data.store={folder}/{corpus}-store",
        f"data.evaluation={{dev: {{corpus: {folder}/dev.tsv, store: {folder}/dev}}}}",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_lines(tmp_path / "train.tsv", examples(61))
    write_lines(tmp_path / "dev.tsv", examples(37, 61))
    return tmp_path


def preprocessed(runs: Runs, options: Sequence[str]) -> int:
    return main(["preprocess", *runs.arguments("p", *options), "--fresh"])


def labels_of(store: Path) -> list[list[int]]:
    values, starts, counts = TokenStore.open(store).integers
    return [values[at : at + count].tolist() for at, count in zip(starts, counts, strict=True)]


def test_every_format_has_the_same_labels(runs: Runs, folder: Path, capsys: Capture) -> None:
    rows = examples(61)
    expected = [[LABELS.index(one) for one in labels] for labels, _ in rows]
    assert [] in expected
    assert [0, 1, 2] in expected
    records = [{"label": labels, "text": text} for labels, text in rows]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    pq.write_table(pa.Table.from_pylist(records), folder / "train.parquet")
    write_lines(folder / "semicolon.tsv", rows, " ; ")
    for corpus, options in (
        ("train.tsv", ""),
        ("train.jsonl", ""),
        ("train.parquet", ""),
        ("semicolon.tsv", ", label_separator: ;"),
    ):
        if options:
            write_lines(folder / "dev.tsv", examples(37, 61), ";")
        assert preprocessed(runs, training(folder, options, corpus)) == EXIT_DONE, corpus
        assert labels_of(folder / f"{corpus}-store") == expected, corpus
    printed = capsys.readouterr().out
    count = sum("long" in labels for labels, _ in rows)
    assert (
        f"texts per label: chinese: {sum('chinese' in one for one, _ in rows)}, long: {count}"
        in (printed)
    )


def test_a_training_has_the_loss_of_torch_and_the_scores_of_scikit_learn(
    runs: Runs, folder: Path
) -> None:
    options = (
        *training(folder, ", class_weights: [1.0, 2.0, 5.0], threshold: 0.4"),
        *("model.dropout=0.0", "data.packing=true"),
        *("train.global_batch_size=8", "train.micro_batch_size=2"),
    )
    assert preprocessed(runs, options) == EXIT_DONE
    assert runs.train("multi", *options, *SHORT) == EXIT_DONE
    recipe, *overrides = runs.arguments("multi", *options)
    loaded = load_recipe(recipe, overrides)
    tokenizer = loaded.tokenizer.load()
    rows = open_rows(loaded, tokenizer, split=TRAIN)
    plan = build_plan(loaded.model, rows.objective, vocabulary_size=tokenizer.vocabulary.size)
    model = PlainModel(plan).eval()
    initialise(model, loaded.model, seed=loaded.seed)
    logits, labels = [], []
    for part in rows.micro_batches(torch.arange(8).numpy(), size=2):
        tensors = {name: torch.from_numpy(array) for name, array in part.tensors.items()}
        with torch.no_grad():
            logits.append(model(tensors)["class_logits"])
        labels.append(tensors["class_labels"].float())
    expected = F.binary_cross_entropy_with_logits(
        torch.cat(logits), torch.cat(labels), pos_weight=torch.tensor([1.0, 2.0, 5.0])
    )
    first, *_, last = runs.metrics("multi")
    assert first["loss"] == pytest.approx(float(expected), rel=1e-5)
    source = open_source(str(runs.folder / "multi"))
    found = evaluate_source(source, ["train.micro_batch_size=3"])
    for name in ("micro_f1", "macro_f1", "subset_accuracy"):
        assert found[f"dev/{name}"] == pytest.approx(last[name]), name
    # The scores of what `ptm predict` answers.
    lines_out = predictions(runs.folder / "multi", folder / "dev.tsv")
    mine, true = (
        np.array([[name in one[key] for name in LABELS] for one in lines_out])
        for key in ("predictions", "labels")
    )
    for average in ("micro", "macro"):
        expected_f1 = f1_score(true, mine, average=average, zero_division=0)
        assert found[f"dev/{average}_f1"] == pytest.approx(expected_f1)
    assert found["dev/subset_accuracy"] == pytest.approx((mine == true).all(axis=1).mean())


def predictions(run: Path, file: Path, *options: str) -> list[dict[str, Any]]:
    out = run.parent / "predicted.jsonl"
    words = ["predict", str(run), str(file), "--out", str(out), "--format", "json_lines", *options]
    assert main(words) == EXIT_DONE
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.mark.parametrize("seed", range(3))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    dice = np.random.default_rng(seed)
    labels, predicted = dice.random((2, 40, 5)) < (0.1, 0.3)[seed % 2]
    labels[:, 4] = predicted[:, 4] = False
    found = multi_label_f1(labels, predicted)
    for average in ("micro", "macro"):
        expected = f1_score(labels, predicted, average=average, zero_division=0)
        assert found[f"{average}_f1"] == pytest.approx(expected)


def test_predictions_are_lines_with_the_labels_above_a_threshold(
    runs: Runs, folder: Path, capsys: Capture
) -> None:
    options = training(folder)
    assert preprocessed(runs, options) == EXIT_DONE
    assert runs.train("multi", *options, *SHORT) == EXIT_DONE
    run = str(runs.folder / "multi")
    all_of_them = [",".join(LABELS)] * 37
    for threshold, expected in (("0.001", all_of_them), ("0.999", [""] * 37)):
        words = ["predict", run, str(folder / "dev.tsv"), "--threshold", threshold]
        code, found, errors = run_command(words, capsys)
        assert code == EXIT_DONE
        assert found[0] == "prediction\tlabels"
        assert [line.split("\t")[0] for line in found[1:]] == expected
        assert "subset accuracy" in errors
    for words, reason in (
        (["--threshold", "1.5"], "--threshold 1.5: must be between 0 and 1"),
        (["--threshold", "nan"], "--threshold nan: must be between 0 and 1"),
    ):
        code, _, errors = run_command(["predict", run, str(folder / "dev.tsv"), *words], capsys)
        assert code == EXIT_USER
        assert reason in errors
    assert main(["show", *runs.arguments("x", *options), "--batch"]) == EXIT_DONE
    assert "(class labels " in capsys.readouterr().out


def test_a_stopped_training_resumes_with_identical_metrics(runs: Runs, folder: Path) -> None:
    options = (*training(folder, ", mlm: {masking: {unit: token}}"), *SHORT)
    assert preprocessed(runs, options) == EXIT_DONE
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=2) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")


def test_wrong_labels_are_named(runs: Runs, folder: Path, capsys: Capture) -> None:
    for line, reason in (
        ("chinese,lang\ta text\n", 'train.tsv:62: "lang" is not one of objective.labels'),
        ("chinese\n", 'train.tsv:62: "chinese" has 1 columns'),
    ):
        write_lines(folder / "train.tsv", examples(61))
        with (folder / "train.tsv").open("a") as file:
            file.write(line)
        assert preprocessed(runs, training(folder)) == EXIT_USER
        assert reason in capsys.readouterr().err
    write_lines(folder / "train.tsv", [([], text) for _, text in examples(5)])
    assert preprocessed(runs, training(folder)) == EXIT_USER
    assert "no training text has a label" in capsys.readouterr().err
    for options, reason in (
        (", label_separator: i", '"chinese" contains the separator of labels "i"'),
        (", class_weights: [1.0]", "1 weights are given for 3 labels"),
        (", threshold: 1.0", "threshold"),
    ):
        assert preprocessed(runs, training(folder, options)) == EXIT_USER
        assert reason in capsys.readouterr().err


def test_a_store_of_single_labels_is_rejected_and_the_other_way_round(
    runs: Runs, folder: Path, capsys: Capture
) -> None:
    single = [(labels[:1] or ["x"], text) for labels, text in examples(61)]
    write_lines(folder / "train.tsv", single)
    write_lines(folder / "dev.tsv", single[:30])
    several = training(folder)
    one = (f"objective={{type: classification, labels: [{', '.join(LABELS)}]}}", *several[1:])
    for made, other, reason in (
        (several, one, "was made with any number of labels for each text"),
        (one, several, "was made with one label for each text"),
    ):
        assert preprocessed(runs, made) == EXIT_DONE
        assert main(["validate", *runs.arguments("p", *other), "--inputs"]) == EXIT_USER
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("section", "value", "reason"),
    [
        ("integer_counts", b"\x07", "the numbers of labels do not add up"),
        ("integers", b"\x07", "the store contains labels beyond the 3 that it declares"),
        ("integers", b"\x07\xff\xff\xff", "the store contains labels beyond the 3"),
    ],
)
def test_a_damaged_store_is_an_error(
    runs: Runs, folder: Path, section: str, value: bytes, reason: str
) -> None:
    assert preprocessed(runs, training(folder)) == EXIT_DONE
    path = folder / "train.tsv-store"
    (shard,) = TokenStore.open(path).info.shards
    (place,) = (one for one in shard.sections if one.name == section)
    with (path / shard.file).open("r+b") as file:
        file.seek(place.offset)
        file.write(value)
    store = TokenStore.open(path)
    with pytest.raises(UserError, match=reason):
        labelled_texts(Documents(store), 64, specials=lambda texts: texts).all_labels(store)
