"""Tagging of words: equal to transformers, sentences kept apart, the field and its decoding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertForTokenClassification

from ptm.components.objectives.base import EXAMPLE_NUMBERS, MicroBatch, RandomSource
from ptm.components.objectives.tagging import Tagging
from ptm.data.documents import Documents
from ptm.data.packing import PackedRows, RowSize, one_per_row, pack_sides
from ptm.data.placement import place
from ptm.data.tagged import BEGINS, ENDS, TaggedWindows
from ptm.interop.hf.families.bert import Bert
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.plain_model import PlainModel
from ptm.recipe import Recipe
from ptm.recipe.model_block import ModelBlock
from ptm.store.reader import TokenStore
from ptm.text.tags import TagSet
from ptm.text.tokenizers.wordpiece import WordPiece
from ptm.text.vocabulary import Vocabularies
from tests.support.tagged_texts import ENTITIES, as_lines, make_store, sentences

LENGTH = 24
COUNT = 40
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


def objective_of(**options: Any) -> Tagging:
    return Tagging.model_validate({"type": "tagging", "entities": list(ENTITIES), **options})


class Rows:
    """The rows of a store, as an objective lays them out."""

    def __init__(self, folder: Path, vocab: Path) -> None:
        tokenizer = WordPiece(type="wordpiece", vocab=str(vocab))
        self.sentences = sentences(COUNT, seed=5)
        make_store(folder / "s", as_lines(self.sentences), tokenizer=tokenizer)
        self.store = TokenStore.open(folder / "s")
        self.vocabularies = Vocabularies.shared(tokenizer.load().vocabulary)

    def index(self, objective: Tagging, *, length: int = LENGTH) -> TaggedWindows:
        found = objective.index(
            Documents(self.store),
            size=RowSize(length, length),
            vocabularies=self.vocabularies,
            seed=7,
        )
        assert isinstance(found, TaggedWindows)
        return found

    def batch(
        self,
        objective: Tagging,
        *,
        packing: bool = True,
        rows: Sequence[int] | None = None,
        length: int = LENGTH,
    ) -> MicroBatch:
        """Rows (default all) as one micro-batch."""
        size = RowSize(length, length)
        examples = self.index(objective, length=length)
        lengths = objective.row_lengths(examples)
        packed: PackedRows = (
            pack_sides(lengths, size) if packing else one_per_row(len(examples.lengths))
        )
        chosen = np.array(range(len(packed)) if rows is None else rows)
        placement = place(packed, chosen, np.zeros_like(chosen), lengths=lengths, size=size)
        return objective.collate(
            examples.texts(self.store, placement.example),
            placement,
            vocabularies=self.vocabularies,
            random_source=RandomSource(7, "train"),
        )

    def tensors(self, objective: Tagging, **options: Any) -> dict[str, Tensor]:
        step = step_batch([self.batch(objective, **options)], objective)
        return dict(step.micro_batches[0])

    def model(self, objective: Tagging, block: ModelBlock = BLOCK) -> PlainModel:
        """A model with random weights, biases and norms too."""
        size = self.vocabularies.source.size
        model = PlainModel(build_plan(block, objective, vocabulary_size=size)).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        return model


@pytest.fixture
def rows(tmp_path: Path, tiny_vocab: Path) -> Rows:
    return Rows(tmp_path, tiny_vocab)


def bert_with_the_weights_of(model: PlainModel, objective: Tagging) -> Any:
    """BertForTokenClassification with the weights of `model`."""
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    bert = BertForTokenClassification(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
            num_labels=len(objective.label_set.names),
        )
    ).eval()
    bert.load_state_dict(named_as_bert(weights, objective), strict=True)
    return bert


def named_as_bert(weights: dict[str, Tensor], objective: Tagging) -> dict[str, Tensor]:
    named = Bert().to_huggingface(weights, BLOCK, objective)
    parts = ("cls.", "bert.pooler.")
    named = {name: tensor for name, tensor in named.items() if not name.startswith(parts)}
    head = {kind: weights[f"tag_classifier.{kind}"] for kind in ("weight", "bias")}
    return {**named, **{f"classifier.{kind}": tensor for kind, tensor in head.items()}}


def alone(tensors: dict[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
    """The row and the columns of each example."""
    found = []
    for row, ids in enumerate(tensors["example_ids"]):
        for number in range(1, int(ids.max()) + 1):
            found.append((torch.tensor(row), (ids == number).nonzero().squeeze(1)))
    return found


@pytest.mark.parametrize("packing", [True, False])
def test_logits_loss_and_gradients_equal_those_of_transformers(rows: Rows, packing: bool) -> None:
    objective = objective_of()
    model = rows.model(objective)
    tensors = rows.tensors(objective, packing=packing)
    words = rows.batch(objective, packing=packing).counts["words"]
    outputs = model(tensors)
    sums = objective.metric_sums(outputs, tensors)
    (sums["tagging_loss"] / words).backward()

    bert = bert_with_the_weights_of(model, objective)
    logits, labels = [], []
    for row, columns in alone(tensors):
        found = bert(input_ids=tensors["input_ids"][row, columns][None]).logits[0]
        ours = outputs["tag_logits"][row, columns]
        torch.testing.assert_close(ours, found, atol=1e-5, rtol=1e-5)
        logits.append(found)
        is_word = tensors["word_numbers"][row, columns] > 0
        labels.append(torch.where(is_word, tensors["tags"][row, columns], -100))
    assert (torch.cat(labels) >= 0).sum() == words
    loss = F.cross_entropy(torch.cat(logits), torch.cat(labels))
    torch.testing.assert_close(sums["tagging_loss"] / words, loss, atol=1e-5, rtol=1e-5)
    right = (torch.cat(logits).argmax(dim=1) == torch.cat(labels)).sum()
    assert float(sums["accuracy"]) == int(right)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    ours_by_name = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    assert ours_by_name.keys() == gradients.keys()
    theirs = named_as_bert(ours_by_name, objective)
    for name, parameter in bert.named_parameters():
        torch.testing.assert_close(
            theirs[name], parameter.grad, atol=1e-5, rtol=1e-4, msg=f"gradient of {name}"
        )


def test_the_loss_is_the_weighted_mean_of_torch(rows: Rows) -> None:
    weights = {name: 1.0 + index for index, name in enumerate(objective_of().label_set.names)}
    weights["O"] = 0.25
    objective = objective_of(class_weights=weights)
    tensors = rows.tensors(objective)
    outputs = rows.model(objective)(tensors)
    counts = rows.batch(objective).counts
    is_word = tensors["word_numbers"] > 0
    expected = F.cross_entropy(
        outputs["tag_logits"][is_word],
        tensors["tags"][is_word],
        torch.tensor([*weights.values()]),
    )
    found = objective.metric_sums(outputs, tensors)["tagging_loss"] / counts["word_weights"]
    torch.testing.assert_close(found, expected)
    assert counts["words"] == int(is_word.sum())


@pytest.mark.parametrize("length", [LENGTH, 8])
def test_each_word_has_its_tag_and_its_number(rows: Rows, length: int) -> None:
    objective = objective_of()
    tensors = rows.tensors(objective, length=length)
    cells = tensors["word_numbers"].flatten()
    order = cells[cells > 0].argsort()
    names = objective.label_set.names
    tags = [names[tag] for tag in tensors["tags"].flatten()[cells > 0][order]]
    assert tags == [tag for _, of in rows.sentences for tag in of]
    assert cells[cells > 0].unique().numel() == len(tags)
    assert objective.predictions_expected(rows.index(objective, length=length)) == len(tags)
    special = rows.vocabularies.source.is_special[tensors["input_ids"].flatten()[cells > 0].numpy()]
    assert not special.any()


@pytest.mark.parametrize("options", [{}, {"crf": True}, {"constrained_decoding": True}])
def test_packed_sentences_have_the_numbers_of_single_ones(
    rows: Rows, options: dict[str, bool]
) -> None:
    objective = objective_of(**options)
    model = rows.model(objective)
    sums, scores = [], []
    for packing in (True, False):
        tensors = rows.tensors(objective, packing=packing, length=12)
        outputs = model(tensors)
        sums.append(objective.metric_sums(outputs, tensors))
        scores.append(scores_of(objective, [(outputs, tensors)]))
    torch.testing.assert_close(sums[0], sums[1], atol=1e-4, rtol=1e-5)
    assert scores[0] == scores[1]


def scores_of(
    objective: Tagging, batches: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]]
) -> dict[str, float]:
    parts = [objective.predictions(*one) for one in batches]
    every = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    order = np.argsort(every[EXAMPLE_NUMBERS], kind="stable")
    order = order[every[EXAMPLE_NUMBERS][order] > 0]
    return objective.compute_scores({name: array[order] for name, array in every.items()})


@pytest.mark.parametrize("crf", [True, False])
def test_a_micro_batch_of_zeros_adds_nothing(rows: Rows, crf: bool) -> None:
    objective = objective_of(crf=crf)
    model = rows.model(objective)
    tensors = rows.tensors(objective, rows=[0, 1])
    nothing = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    sums = objective.metric_sums(model(nothing), nothing)
    assert {name: float(value.detach()) for name, value in sums.items()} == {
        "tagging_loss": 0.0,
        "accuracy": 0.0,
    }
    sums["tagging_loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert (objective.predictions(model(nothing), nothing)[EXAMPLE_NUMBERS] == 0).all()


# Conditional random field, and constrained decoding


def test_the_loss_of_a_field_is_that_of_all_paths_of_each_window(rows: Rows) -> None:
    objective = objective_of(crf=True)
    model = rows.model(objective)
    labels = rows.index(objective, length=12).labels
    assert set(labels.tolist()) == {0, BEGINS, ENDS, BEGINS + ENDS}
    tensors = rows.tensors(objective, packing=False, length=12)
    with torch.no_grad():
        outputs = model(tensors)
        loss = objective.metric_sums(outputs, tensors)["tagging_loss"]
    scores, expected = model.state_dict()["crf.weight"], 0.0
    for row, label in enumerate(labels.tolist()):
        words = tensors["word_numbers"][row] > 0
        emissions, tags = outputs["tag_logits"][row][words], tensors["tags"][row][words]
        of_borders = scores.clone()
        # A part of a sentence has no score at the end that is not the sentence's.
        of_borders[-2] *= bool(label & BEGINS)
        of_borders[-1] *= bool(label & ENDS)
        expected += float(log_likelihood(emissions, tags, of_borders))
    assert float(loss) == pytest.approx(-expected, rel=1e-5)


def log_likelihood(emissions: Tensor, tags: Tensor, scores: Tensor) -> Tensor:
    """By matrices of transitions, one word at a time, in double precision."""
    emissions, scores = emissions.double(), scores.double()
    reached = (scores[-2] + emissions[0]).exp()
    given = scores[-2, tags[0]] + emissions[0, tags[0]]
    for before, after, emission in zip(tags, tags[1:], emissions[1:], strict=False):
        reached = (reached @ scores[:-2].exp()) * emission.exp()
        given = given + scores[before, after] + emission[after]
    return given + scores[-1, tags[-1]] - (reached @ scores[-1].exp()).log()


@pytest.mark.parametrize("scheme", ["bio", "bioes"])
def test_constrained_tags_are_the_best_that_follow_the_rules(scheme: str) -> None:
    objective = objective_of(scheme=scheme, constrained_decoding=True)
    names = objective.label_set.names
    tags: TagSet = objective.label_set
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 3):
        logits = torch.randn(1, length + 1, len(names), generator=generator)
        numbers = torch.arange(length + 1)[None]
        bits = torch.zeros_like(numbers)
        bits[0, 1] += 4 + 1
        bits[0, length] += 8 + 2
        tensors = {"tags": torch.zeros_like(numbers), "word_bits": bits, "word_numbers": numbers}
        found = objective.predictions({"tag_logits": logits}, tensors)["predicted"][1:]
        begins = np.arange(length) == 0
        valid = [
            path
            for path in product(range(len(names)), repeat=length)
            if (tags.repaired(np.array(path), begins) == np.array(path)).all()
        ]
        best = max(
            valid, key=lambda path: sum(logits[0, i + 1, t].item() for i, t in enumerate(path))
        )
        assert tuple(found.tolist()) == best


def test_decoding_is_constrained_with_a_field_unless_declared_otherwise(rows: Rows) -> None:
    found = {}
    for constrained in (None, True, False):
        objective = objective_of(crf=True, constrained_decoding=constrained)
        model = rows.model(objective)
        tensors = rows.tensors(objective)
        with torch.no_grad():
            # The field prefers I-PER after O, which breaks the rules.
            model.state_dict()["crf.weight"][0, 2] = 9.0
            predictions = objective.predictions(model(tensors), tensors)
        order = predictions[EXAMPLE_NUMBERS].argsort()
        order = order[predictions[EXAMPLE_NUMBERS][order] > 0]
        predicted, begins = (predictions[name][order].numpy() for name in ("predicted", "begins"))
        repaired = objective.label_set.repaired(predicted, begins)
        found[constrained] = bool((repaired == predicted).all())
    assert found == {None: True, True: True, False: False}


# Options

TAGGED = ("data.layout=tagged", "data.held_out=0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "give either labels, the list of tags, or entities, that of types"),
        ("labels: [O, B-A], entities: [A]", "give either labels, the list of tags, or entities"),
        ("labels: 3", "objective.labels"),
        ("labels: [O]", "labels: give at least two labels"),
        ("entities: [A, A]", 'labels: "B-A" is listed twice'),
        ("labels: [O, A]", 'scheme = bio: the tag "A" is neither O nor B-TYPE or I-TYPE'),
        ("labels: [O, S-A]", 'scheme = bio: the tag "S-A" is neither O nor'),
        ("entities: [A], scheme: plain", "scheme = plain has no tags of entities"),
        ("entities: [A], scheme: iob", "objective.scheme"),
        (
            "labels: [A, B], scheme: plain, constrained_decoding: true",
            "constrained_decoding = true needs the rules of a scheme",
        ),
        ("entities: [A], class_weights: [1.0]", "1 weights are given for 3 labels"),
        (
            "entities: [A], crf: true, class_weights: [1.0, 1.0, 1.0]",
            "class_weights has no effect on the loss of a conditional random field",
        ),
    ],
)
def test_options_that_do_not_fit_are_rejected(
    error_of: Callable[..., str], options: str, message: str
) -> None:
    found = error_of(*TAGGED, f"objective={{type: tagging, {options}}}")
    assert message in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("entities: [A, B]", "O B-A I-A B-B I-B"),
        ("entities: [A], scheme: bioes", "O B-A I-A E-A S-A"),
        ("labels: [O, B-A, M-A, E-A], scheme: bioes", "O B-A M-A E-A"),
        ("labels: [B, I]", "B I"),
        ("labels: [1, NN], scheme: plain", "1 NN"),
    ],
)
def test_the_tags_are_listed_or_made_of_the_types(
    load: Callable[..., Recipe], options: str, names: str
) -> None:
    objective = load(*TAGGED, f"objective={{type: tagging, {options}}}").objective
    assert objective.label_set is not None
    assert objective.label_set.names == tuple(names.split())


def test_a_score_can_choose_the_best_checkpoint(
    load: Callable[..., Recipe], error_of: Callable[..., str]
) -> None:
    tags = "objective={type: tagging, entities: [A]}"
    recipe = load(*TAGGED, tags, "checkpoint.best=entity_f1")
    assert recipe.objective.higher_is_better("dev/entity_f1")
    plain = "objective={type: tagging, labels: [A, B], scheme: plain}"
    found = error_of(*TAGGED, plain, "checkpoint.best=entity_f1")
    assert '"entity_f1" is not a metric of this recipe. Choose one of: accuracy' in found
    assert load(*TAGGED, plain, "checkpoint.best=macro_f1").checkpoint.best == "macro_f1"


def test_a_segmenter_has_no_use(error_of: Callable[..., str]) -> None:
    found = error_of(
        *TAGGED, "objective={type: tagging, entities: [A]}", "data.segmenter={type: space}"
    )
    assert "no objective with data.layout = tagged masks tokens. Remove it." in found
