"""Objective `regression`: labels that are numbers, loss and gradients, against transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from ptm.cli import main
from ptm.components.objectives.regression import Regression
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.families.bert import Bert
from ptm.interop.sources.open import open_source
from ptm.loading.batches import step_batch
from ptm.loading.rows import TRAIN, open_rows
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe import Recipe, load_recipe
from ptm.runs.evaluate import evaluate_source
from ptm.text.labels import NumberLabels, numbers_of
from tests.support.classifiers import run_command
from tests.support.labelled_texts import lines
from tests.support.small_runs import Runs

SHORT = ("train.steps=4", "tracking.log_every=2", "tracking.evaluate_every=2")


def write_numbers(folder: Path, name: str, count: int, *, first: int) -> None:
    """Pairs whose label is a number with a fraction."""
    made = []
    for number, line in enumerate(lines(count, first=first, texts=2)):
        made.append("\t".join([str(number % 21 / 4), *line.split("\t")[1:]]))
    (folder / f"{name}.tsv").write_text("\n".join(made) + "\n", encoding="utf-8")


def overrides(folder: Path, options: str = "") -> tuple[str, ...]:
    return (
        f"objective={{type: regression{options}}}",
        *("data.layout=labelled", "data.held_out=0", f"data.corpus={folder}/train.tsv"),
        f"data.store={folder}/train",
        f"data.evaluation={{dev: {{corpus: {folder}/dev.tsv, store: {folder}/dev}}}}",
    )


@pytest.fixture
def folder(tmp_path: Path, runs: Runs) -> Path:
    write_numbers(tmp_path, "train", 43, first=0)
    write_numbers(tmp_path, "dev", 22, first=43)
    assert main(["preprocess", *runs.arguments("made", *overrides(tmp_path))]) == EXIT_DONE
    return tmp_path


def recipe_of(runs: Runs, folder: Path, *others: str) -> Recipe:
    recipe, *rest = runs.arguments("x", *overrides(folder), "model.dropout=0.0", *others)
    return load_recipe(recipe, rest)


@pytest.mark.parametrize("packing", [True, False])
def test_loss_and_gradients_are_those_of_transformers(
    runs: Runs, folder: Path, packing: bool
) -> None:
    recipe = recipe_of(runs, folder, f"data.packing={str(packing).lower()}")
    rows = open_rows(recipe, recipe.tokenizer.load(), split=TRAIN)
    model = PlainModel(
        build_plan(recipe.model, rows.objective, vocabulary_size=rows.vocabularies.source.size)
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    every = np.arange(len(rows))
    part = rows.micro_batch(every, np.zeros_like(every))
    tensors = dict(step_batch([part], rows.objective).micro_batches[0])
    sums = rows.objective.metric_sums(model(tensors), tensors)
    (sums["regression_loss"] / part.counts["examples"]).backward()

    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            num_labels=1,
            problem_type="regression",
        )
    ).eval()
    named = Bert().to_huggingface(weights, recipe.model, rows.objective)
    named = {name: tensor for name, tensor in named.items() if not name.startswith("cls.")}
    named |= {f"classifier.{kind}": weights[f"classifier.{kind}"] for kind in ("weight", "bias")}
    bert.load_state_dict(named, strict=True)
    labels = numbers_of(rows.store.labels)
    losses: list[torch.Tensor] = []
    for row in range(len(tensors["input_ids"])):
        for slot in range(1, int(tensors["example_ids"][row].max()) + 1):
            here = tensors["example_ids"][row] == slot
            label = torch.tensor([float(labels[int(tensors["example_numbers"][len(losses)]) - 1])])
            output = bert(
                input_ids=tensors["input_ids"][row][here][None],
                token_type_ids=(tensors["segment_ids"][row][here] - 1)[None],
                labels=label,
            )
            losses.append(output.loss)
    assert len(losses) == part.counts["examples"] == 43
    mean = torch.stack(losses).mean()
    mean.backward()
    torch.testing.assert_close(sums["regression_loss"] / 43, mean, atol=1e-5, rtol=1e-5)
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    theirs = Bert().to_huggingface(
        {name: gradient for name, gradient in ours.items() if gradient is not None},
        recipe.model,
        rows.objective,
    )
    for name, parameter in bert.named_parameters():
        mine = ours[name] if name.startswith("classifier") else theirs[name]
        torch.testing.assert_close(mine, parameter.grad, atol=1e-4, rtol=1e-4, msg=name)


def test_it_trains_evaluates_and_predicts(
    runs: Runs, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = ("checkpoint.best=dev/spearman", "train.early_stopping={metric: dev/pearson}")
    assert runs.train("sts", *overrides(folder), *SHORT, *best) == EXIT_DONE
    last = runs.metrics("sts")[-1]
    assert {"loss", "regression_loss", "pearson", "spearman"} <= last.keys()
    run = runs.folder / "sts"
    measured = evaluate_source(open_source(str(run)), [])
    assert measured["dev/spearman"] == pytest.approx(last["spearman"], abs=1e-9)
    words = ["predict", str(run), str(folder / "dev.tsv"), "--format", "json_lines"]
    code, found, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    answers = [json.loads(line) for line in found]
    labels = np.array([float(one["label"]) for one in answers])
    numbers = np.array([one["prediction"] for one in answers])
    assert labels[:5].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert np.corrcoef(labels, numbers)[0, 1] == pytest.approx(measured["dev/pearson"], abs=1e-4)
    assert np.mean((labels - numbers) ** 2) == pytest.approx(measured["dev/loss"], abs=1e-4)
    shown = f"Pearson correlation {np.corrcoef(labels, numbers)[0, 1]:.5f}, mean squared error"
    assert shown in errors


def test_a_row_of_zeros_adds_nothing() -> None:
    objective = Regression.model_validate({"type": "regression"})
    outputs = {"predicted_numbers": torch.full((3, 1), 5.0)}
    tensors = {
        "label_numbers": torch.tensor([NumberLabels().index_of("2.5"), 0, 0]),
        "example_numbers": torch.tensor([1, 0, 0]),
    }
    assert float(objective.metric_sums(outputs, tensors)["regression_loss"]) == 2.5**2


def test_numbers_keep_their_bits_as_labels() -> None:
    labels = NumberLabels()
    texts = ["0", "-0.5", "4.2", "1e-3", " 5.000 ", "-3"]
    found = numbers_of(np.array([labels.index_of(text) for text in texts]))
    assert found.tolist() == [np.float32(text.strip()) for text in texts]
    for text, what in (("good", '"good" is not a'), ("nan", '"nan"'), ("", "the label is missing")):
        with pytest.raises(UserError, match=what):
            labels.index_of(text)
    with pytest.raises(UserError, match="1e39"):
        labels.index_of("1e39")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "0.5\ta\tb\ngood\tc\td\n", 'a.tsv:2: "good" is not a finite number; the label'),
        ("a.jsonl", '{"label": 0.5, "text": "a"}\n{"label": "x", "text": "a"}\n', 'a.jsonl:2: "x"'),
    ],
)
def test_a_label_that_is_no_number_is_an_error(
    tmp_path: Path,
    runs: Runs,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    message: str,
) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    options = (
        "objective={type: regression}",
        *("data.layout=labelled", f"data.corpus={tmp_path / name}"),
        f"data.store={tmp_path / 'store'}",
    )
    code, _, errors = run_command(["preprocess", *runs.arguments("bad", *options)], capsys)
    assert code == EXIT_USER
    assert message in errors
