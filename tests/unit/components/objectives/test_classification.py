"""Objective `classification`: rows, pooling, loss and head, against torch and transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForSequenceClassification

from ptm.components.objectives.base import MicroBatch, RandomSource
from ptm.components.objectives.classification import Classification
from ptm.data.documents import Documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.interop.hf.families.bert import Bert
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.nn.example_pooling import ExamplePooler
from ptm.recipe import Recipe
from ptm.recipe.model_block import ModelBlock
from ptm.store.preprocess import Preprocessing, preprocess
from ptm.store.reader import TokenStore
from ptm.text.corpus import find_corpus
from ptm.text.labels import LabelSet
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabularies

LABELS = ("bad", "fair", "good")
LENGTH = 24
BLOCK = ModelBlock.model_validate(
    {
        "dropout": 0.0,
        "embedding": {"positions": LENGTH},
        "encoder": {
            "type": "transformer",
            "layers": 2,
            "hidden_size": 32,
            "heads": 2,
            "feed_forward_size": 64,
        },
    }
)
POOLINGS = ("first", "mean", "max", "last")


def objective_of(**options: Any) -> Classification:
    return Classification.model_validate(
        {"type": "classification", "labels": list(LABELS), **options}
    )


class Rows:
    """The rows of a store, as an objective lays them out."""

    def __init__(self, folder: Path, vocab: Path, *, texts: int) -> None:
        dice = np.random.default_rng(texts)
        lines = []
        for number in range(40):
            words = (
                " ".join(dice.choice(list("abcdefgh"), dice.integers(1, 16))) for _ in range(texts)
            )
            lines.append("\t".join((LABELS[number % 3], *words)))
        (folder / "t.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokenizer = WordPiece(type="wordpiece", vocab=str(vocab))
        work = Preprocessing(
            corpus=find_corpus([str(folder / "t.tsv")]),
            layout="labelled",
            tokenizer=tokenizer,
            segmenter=None,
            labels=LabelSet(LABELS),
        )
        preprocess(work, folder / "store", workers=1, fresh=False, report=lambda _: None)
        self.store = TokenStore.open(folder / "store")
        self.vocabularies = Vocabularies.shared(tokenizer.load().vocabulary)

    def batch(
        self, objective: Classification, *, packing: bool, rows: int | None = None
    ) -> MicroBatch:
        """The first rows (default all) as one micro-batch."""
        size = RowSize(LENGTH, LENGTH)
        vocabularies = self.vocabularies
        examples = objective.index(
            Documents(self.store), size=size, vocabularies=vocabularies, seed=7
        )
        lengths = objective.row_lengths(examples)
        packed: PackedRows = (
            pack_sides(lengths, size) if packing else one_per_row(len(examples.lengths))
        )
        chosen = np.arange(len(packed) if rows is None else rows)
        placement = place(packed, chosen, np.zeros_like(chosen), lengths=lengths, size=size)
        return objective.collate(
            examples.texts(self.store, placement.example),
            placement,
            vocabularies=vocabularies,
            random_source=RandomSource(7, "train"),
        )

    def tensors(self, objective: Classification, **options: Any) -> dict[str, Tensor]:
        step = step_batch([self.batch(objective, **options)], objective)
        return dict(step.micro_batches[0])

    def model(self, objective: Classification, block: ModelBlock = BLOCK) -> PlainModel:
        """A model with random weights, biases and norms too."""
        size = self.vocabularies.source.size
        model = PlainModel(build_plan(block, objective, vocabulary_size=size)).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        return model


@pytest.fixture
def make_rows(tmp_path: Path, tiny_vocab: Path) -> Callable[[int], Rows]:
    return lambda texts: Rows(tmp_path, tiny_vocab, texts=texts)


def bert_with_the_weights_of(model: PlainModel, objective: Classification) -> Any:
    """BertForSequenceClassification with the weights of `model`."""
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    bert = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
            num_labels=len(LABELS),
        )
    ).eval()
    named = Bert().to_huggingface(weights, BLOCK, objective)
    named = {name: tensor for name, tensor in named.items() if not name.startswith("cls.")}
    named |= {f"classifier.{kind}": weights[f"classifier.{kind}"] for kind in ("weight", "bias")}
    bert.load_state_dict(named, strict=True)
    return bert


def alone(tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The token ids and segments of each example, in the order of the labels."""
    return [
        (tensors["input_ids"][row][here], tensors["segment_ids"][row][here])
        for row in range(len(tensors["input_ids"]))
        for number in range(1, int(tensors["example_ids"][row].max()) + 1)
        if (here := tensors["example_ids"][row] == number).any()
    ]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("texts", [1, 2])
def test_logits_loss_and_gradients_equal_those_of_transformers(
    make_rows: Callable[[int], Rows], texts: int, packing: bool
) -> None:
    rows, objective = make_rows(texts), objective_of()
    model = rows.model(objective)
    tensors = rows.tensors(objective, packing=packing)
    outputs = model(tensors)
    sums = objective.metric_sums(outputs, tensors)
    (sums["classification_loss"] / 40).backward()

    bert = bert_with_the_weights_of(model, objective)
    examples = alone(tensors)
    assert len(examples) == 40
    logits = torch.cat(
        [
            bert(input_ids=ids[None], token_type_ids=(segments - 1)[None]).logits
            for ids, segments in examples
        ]
    )
    torch.testing.assert_close(outputs["class_logits"][:40], logits, atol=1e-5, rtol=1e-5)
    labels = tensors["class_labels"][:40]
    loss = F.cross_entropy(logits, labels)
    torch.testing.assert_close(sums["classification_loss"] / 40, loss, atol=1e-5, rtol=1e-5)
    assert float(sums["accuracy"]) == int((logits.argmax(dim=1) == labels).sum())
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    assert ours.keys() == gradients.keys()
    theirs = Bert().to_huggingface(ours, BLOCK, objective)
    for name, parameter in bert.named_parameters():
        mine = ours[name] if name.startswith("classifier") else theirs[name]
        torch.testing.assert_close(mine, parameter.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_a_pair_is_two_segments_and_each_example_has_its_label(
    make_rows: Callable[[int], Rows],
) -> None:
    rows, objective = make_rows(2), objective_of()
    batch = rows.batch(objective, packing=True)
    assert batch.examples == 40
    assert batch.counts == {"examples": 40}
    vocabulary = rows.vocabularies.source
    cls, sep = (vocabulary.special_id(role) for role in ("cls", "sep"))
    tensors = rows.tensors(objective, packing=True)
    labels = rows.store.labels
    for (ids, segments), label, number in zip(
        alone(tensors), tensors["class_labels"], tensors["example_numbers"], strict=False
    ):
        assert ids[0] == cls
        assert (ids == sep).sum() == 2
        assert (segments.diff() >= 0).all()
        assert segments.unique().tolist() == [1, 2]
        assert int(label) == labels[int(number) - 1]


# Pooling


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("packing", [True, False])
def test_pooling_reads_the_tokens_of_its_own_example_only(
    make_rows: Callable[[int], Rows], pooling: str, packing: bool
) -> None:
    rows, objective = make_rows(1), objective_of(pooling=pooling)
    tensors = rows.tensors(objective, packing=packing)
    shape = replace(BLOCK.shape(10), hidden_size=8)
    pooler = ExamplePooler(shape, objective.pooling)
    assert pooler.dense is not None
    hidden = torch.randn(*tensors["input_ids"].shape, 8)
    found = pooler(hidden, tensors["example_ids"], tensors["class_positions"])
    expected = []
    for row in range(len(hidden)):
        for number in range(1, int(tensors["example_ids"][row].max()) + 1):
            vectors = hidden[row][tensors["example_ids"][row] == number]
            of = {
                "first": vectors[0],
                "last": vectors[-1],
                "mean": vectors.mean(dim=0),
                "max": vectors.max(dim=0).values,
            }
            expected.append(pooler.dense(of[pooling]).tanh())
    torch.testing.assert_close(found[:40], torch.stack(expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_micro_batch_of_zeros_adds_nothing(
    make_rows: Callable[[int], Rows], pooling: str
) -> None:
    rows, objective = make_rows(1), objective_of(pooling=pooling)
    model = rows.model(objective)
    tensors = rows.tensors(objective, packing=True, rows=2)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    sums = objective.metric_sums(model(nothing), nothing)
    assert {name: float(value.detach()) for name, value in sums.items()} == {
        "classification_loss": 0.0,
        "accuracy": 0.0,
    }
    sums["classification_loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


# Class weights, and masked tokens


@pytest.mark.parametrize("weights", [[0.1, 2.0, 0.0], {"good": 0.0, "bad": 0.1, "fair": 2.0}])
def test_class_weights_give_the_weighted_mean_of_torch(
    make_rows: Callable[[int], Rows], weights: Any
) -> None:
    rows, objective = make_rows(1), objective_of(class_weights=weights)
    model = rows.model(objective)
    batch = rows.batch(objective, packing=True)
    tensors = rows.tensors(objective, packing=True)
    outputs = model(tensors)
    sums = objective.metric_sums(outputs, tensors)
    mean = sums["classification_loss"] / batch.counts["example_weights"]
    logits, labels = outputs["class_logits"][:40], tensors["class_labels"][:40]
    expected = F.cross_entropy(logits, labels, weight=torch.tensor([0.1, 2.0, 0.0]))
    torch.testing.assert_close(mean, expected)


def test_masked_tokens_are_predicted_on_the_same_rows(make_rows: Callable[[int], Rows]) -> None:
    rows = make_rows(2)
    plain, both = (
        objective_of(),
        objective_of(mlm={"weight": 0.5, "masking": {"unit": "token", "rate": 0.3}}),
    )
    batch = rows.batch(both, packing=True)
    masked, unmasked = batch.tensors, rows.batch(plain, packing=True).tensors
    mask = rows.vocabularies.source.special_id("mask")
    assert (masked["input_ids"] == mask).sum() > 0
    at, ids = masked["predicted_positions"], masked["predicted_ids"]
    assert unmasked["input_ids"].ravel()[at].tolist() == ids.tolist()
    for name in ("class_labels", "class_positions", "example_numbers", "segment_ids"):
        assert (masked[name] == unmasked[name]).all()
    assert batch.counts == {"examples": 40, "predicted": len(at)}
    assert both.loss_weights(0)["mlm_loss"] == 0.5
    tensors = rows.tensors(both, packing=True)
    outputs = rows.model(both)(tensors)
    sums = both.metric_sums(outputs, tensors)
    expected = F.cross_entropy(outputs["logits"][: len(at)], torch.from_numpy(ids), reduction="sum")
    torch.testing.assert_close(sums["mlm_loss"], expected)


# Options

GIVEN = "objective={{type: classification, labels: [a, b]{}}}"
LABELLED = ("data.layout=labelled", "data.held_out=0.1")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("labels: 1", "objective.labels"),
        ("labels: x", 'objective.labels: "x": must be a whole number'),
        ("labels: [a, 1.5]", "objective.labels.1: 1.5: must be text"),
        ("labels: [a]", "labels: give at least two labels"),
        ("labels: [a, a]", 'labels: "a" is listed twice'),
        ('labels: [a, " b"]', 'labels: " b" is empty, begins or ends with a space'),
        ("labels: 2, class_weights: 3", "objective.class_weights"),
        ("labels: 2, class_weights: [1, -1]", "objective.class_weights.1: -1"),
        ("labels: [a, b], class_weights: [1.0]", "1 weights are given for 2 labels"),
        ("labels: [a, b], class_weights: [0, 0]", "all weights are 0"),
        ("labels: [a, b], class_weights: {a: 1, c: 2}", "b, c is not in both labels and"),
        ("labels: 2, pooling: sum", "objective.pooling"),
    ],
)
def test_options_that_do_not_fit_are_rejected(
    error_of: Callable[..., str], objective: str, message: str
) -> None:
    found = error_of(*LABELLED, f"objective={{type: classification, {objective}}}")
    assert message in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "pooling = first reads the first token, which depends on no other token"),
        (", pooling: max, mlm: {}", "mlm predicts masked tokens from both sides"),
    ],
)
def test_a_causal_encoder_needs_a_pooling_that_sees_the_text(
    error_of: Callable[..., str], options: str, message: str
) -> None:
    causal = "model.encoder={type: lstm, layers: 1, hidden_size: 16}"
    assert message in error_of(*LABELLED, causal, GIVEN.format(options))


@pytest.mark.parametrize("options", ["pooling: max", "pooling: last", "pooling: mean"])
def test_a_causal_encoder_is_accepted_with_another_pooling(
    load: Callable[..., Recipe], options: str
) -> None:
    causal = "model.encoder={type: gru, layers: 1, hidden_size: 16}"
    assert load(*LABELLED, causal, GIVEN.format(f", {options}")).objective.type == "classification"


def test_a_score_can_choose_the_best_checkpoint_but_perplexity_cannot(
    load: Callable[..., Recipe], error_of: Callable[..., str]
) -> None:
    stop = "train.early_stopping={metric: accuracy}"
    recipe = load(*LABELLED, GIVEN.format(""), "checkpoint.best=macro_f1", stop)
    assert recipe.objective.higher_is_better("dev/macro_f1")
    found = error_of(*LABELLED, GIVEN.format(""), "checkpoint.best=perplexity")
    assert '"perplexity" is not a metric of this recipe. Choose one of: accuracy' in found


def test_labels_may_be_written_as_numbers(load: Callable[..., Recipe]) -> None:
    objective = load(*LABELLED, "objective={type: classification, labels: [100, 103]}").objective
    assert objective.label_set == LabelSet(("100", "103"))
