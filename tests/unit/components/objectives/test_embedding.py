"""Objective `embedding`: rows, embeddings and losses, against transformers and torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from ptm.components.objectives.embedding import Embedding
from ptm.interop.hf.families.bert import Bert
from ptm.interop.sources.base import ModelSource
from ptm.interop.text_length import limit_of_texts, longest_text
from ptm.loading.batches import StepBatch, TrainStream, evaluation_batches
from ptm.model.plain_model import PlainModel
from ptm.recipe import Recipe, load_recipe
from ptm.train.inputs import TrainingInputs, open_inputs
from tests.support.launched import RECIPE
from tests.support.small_runs import small_overrides
from tests.support.text_groups import LOSSES, embedding, write_corpora

needs_sentence_transformers = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed",
)
ROWS = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    for kind in LOSSES:
        write_corpora(made, kind)
    return made


class Opened:
    """A recipe for a kind of corpus, its inputs, and a model with random weights."""

    def __init__(self, folder: Path, kind: str, options: str = "", *others: str) -> None:
        dropout = f"model.dropout={0.1 if kind == 'texts' else 0.0}"
        rows = (f"train.global_batch_size={ROWS}", "data.packing=false")
        more = (dropout, *rows, *others)
        own = (*embedding(folder, kind, options), "train.micro_batch_size=16", *more)
        self.recipe: Recipe = load_recipe(
            str(RECIPE), small_overrides(folder, folder / "runs", kind, *own)
        )
        self.inputs: TrainingInputs = open_inputs(self.recipe, ranks=1)
        self.model = PlainModel(self.inputs.plan).eval()
        generator = torch.Generator().manual_seed(0)
        for parameter in self.model.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)

    @property
    def objective(self) -> Embedding:
        found = self.recipe.objective
        assert isinstance(found, Embedding)
        return found

    def batch(self) -> StepBatch:
        """The first step."""
        return TrainStream(self.inputs.train, self.inputs.batch, data_parallel_rank=0).step(0)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.batch().micro_batches[0])

    def sums(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return self.objective.metric_sums(self.model(tensors), tensors)


def texts_of(tensors: dict[str, Tensor]) -> list[Tensor]:
    """The token ids of each text, in the order of the embeddings."""
    return [
        tensors["input_ids"][row][here]
        for row in range(len(tensors["input_ids"]))
        for number in range(1, int(tensors["example_ids"][row].max()) + 1)
        if (here := tensors["example_ids"][row] == number).any()
    ]


def bert_of(opened: Opened) -> Any:
    """BertModel with the weights of the model."""
    weights = {name: tensor.detach() for name, tensor in opened.model.state_dict().items()}
    model, encoder = opened.recipe.model, opened.recipe.model.encoder
    bert = BertModel(
        BertConfig(
            vocab_size=len(weights["word_embedding.weight"]),
            hidden_size=encoder.hidden_size,
            num_hidden_layers=encoder.layers,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=model.embedding.positions,
        ),
        add_pooling_layer=False,
    ).eval()
    family = Bert()
    named = family.to_huggingface(weights, model, family.pretraining_objective())
    body = {
        name.removeprefix("bert."): tensor
        for name, tensor in named.items()
        if name.startswith("bert.")
    }
    bert.load_state_dict(body, strict=True)
    return bert


def pooled(hidden: Tensor, pooling: str) -> Tensor:
    return {
        "first": hidden[0],
        "last": hidden[-1],
        "mean": hidden.mean(dim=0),
        "max": hidden.max(dim=0).values,
    }[pooling]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_embeddings_equal_those_of_transformers_text_by_text(
    folder: Path, pooling: str, packing: bool
) -> None:
    norm = f", pooling: {pooling}, normalize: {str(pooling == 'max').lower()}"
    opened = Opened(folder, "triplets", norm, f"data.packing={packing}".lower())
    tensors = opened.tensors()
    found = opened.model(tensors)["embeddings"]
    bert = bert_of(opened)
    texts = texts_of(tensors)
    assert len(texts) >= 4 * ROWS
    with torch.no_grad():
        expected = torch.stack(
            [pooled(bert(ids[None]).last_hidden_state[0], pooling) for ids in texts]
        )
    if pooling == "max":
        expected = F.normalize(expected)
    torch.testing.assert_close(found[: len(texts)], expected, atol=1e-5, rtol=1e-5)


def in_batch_loss(vectors: Tensor, tensors: dict[str, Tensor], temperature: float) -> Tensor:
    """The sum of the cross entropies, anchor by anchor."""
    roles, hashes = tensors["text_roles"], tensors["text_hashes"]
    total = vectors.new_zeros(())
    for row in torch.nonzero(roles == 1)[:, 0].tolist():
        own = row + 1
        others = [
            at
            for at in torch.nonzero(roles > 1)[:, 0].tolist()
            if at != own and hashes[at] != hashes[own] and hashes[at] != hashes[row]
        ]
        cosines = F.cosine_similarity(vectors[row][None], vectors[[own, *others]])
        total = total - torch.log_softmax(cosines / temperature, dim=0)[0]
    return total


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_the_negatives_are_all_other_texts_of_the_batch(folder: Path, kind: str) -> None:
    opened = Opened(folder, kind, ", temperature: 0.1, matryoshka: [16]")
    tensors = opened.tensors()
    found = opened.sums(tensors)["embedding_loss"]
    vectors = opened.model(tensors)["embeddings"]
    expected = in_batch_loss(vectors, tensors, 0.1) + in_batch_loss(vectors[:, :16], tensors, 0.1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    gradients = [
        torch.autograd.grad(loss, vectors)[0]
        for loss in (
            opened.objective.metric_sums({"embeddings": vectors}, tensors)["embedding_loss"],
            expected,
        )
    ]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_equal_texts_are_no_negatives(folder: Path) -> None:
    opened = Opened(folder, "pairs", "", "train.global_batch_size=61", "train.micro_batch_size=61")
    tensors = opened.tensors()
    vectors = opened.model(tensors)["embeddings"].detach()
    hashes, real = tensors["text_hashes"], tensors["text_roles"] > 0
    assert len(set(hashes[real].tolist())) < int(real.sum()), "the corpus repeats some pairs"
    texts = [tuple(ids.tolist()) for ids in texts_of(tensors)]
    same = torch.tensor([[one == other for other in texts] for one in texts])
    assert torch.equal(hashes[: len(texts), None] == hashes[None, : len(texts)], same)
    # With other hashes, the copies are negatives, and the loss is higher.
    apart = {**tensors, "text_hashes": torch.arange(len(hashes))}
    sums = [opened.objective.metric_sums({"embeddings": vectors}, one) for one in (tensors, apart)]
    assert sums[0]["embedding_loss"] < sums[1]["embedding_loss"] - 0.01


def test_a_batch_has_one_loss_whatever_micro_batches_it_is_divided_into(folder: Path) -> None:
    """Also of ranks, each of which adds the loss of its own anchors."""
    opened = Opened(folder, "triplets", ", matryoshka: [8]")
    tensors = opened.tensors()
    vectors = opened.model(tensors)["embeddings"].detach()
    whole = opened.objective.metric_sums({"embeddings": vectors}, tensors)
    # Two micro-batches, cut between examples, with padding of their own.
    texts, cut, size = int((tensors["text_roles"] > 0).sum()), 20, 96

    def divided(tensor: Tensor) -> Tensor:
        padding = tensor.new_zeros((size, *tensor.shape[1:]))
        parts = torch.stack([padding, padding])
        parts[0, :cut], parts[1, : texts - cut] = tensor[:cut], tensor[cut:texts]
        return parts

    targets = {name: divided(tensors[name]) for name in opened.objective.targets}
    outputs = {"embeddings": divided(vectors)}
    parts = [
        opened.objective.batch_sums(outputs, targets, mine) for mine in (slice(0, 1), slice(1, 2))
    ]
    for name, value in whole.items():
        torch.testing.assert_close(parts[0][name] + parts[1][name], value, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_micro_batch_of_zeros_adds_nothing(folder: Path, kind: str) -> None:
    opened = Opened(folder, kind)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in opened.tensors().items()}
    sums = opened.sums(nothing)
    assert all(float(value.detach()) == 0 for value in sums.values())
    sums["embedding_loss"].backward()
    gradients = [p.grad for p in opened.model.parameters() if p.grad is not None]
    assert gradients
    assert all(not gradient.any() for gradient in gradients)


def test_scored_pairs_have_the_squared_error_of_their_cosines(folder: Path) -> None:
    opened = Opened(folder, "scored")
    tensors = opened.tensors()
    vectors = opened.model(tensors)["embeddings"]
    numbers = tensors["text_labels"].to(torch.int32).view(torch.float32)[: 2 * ROWS : 2]
    assert set((numbers * 2 % 1).tolist()) == {0.0}
    assert numbers.max() > 4
    cosines = F.cosine_similarity(vectors[0 : 2 * ROWS : 2], vectors[1 : 2 * ROWS : 2])
    expected = F.mse_loss(cosines, numbers / 5, reduction="sum")
    torch.testing.assert_close(opened.sums(tensors)["embedding_loss"], expected)


def test_classes_are_predicted_from_both_texts_and_their_difference(folder: Path) -> None:
    opened = Opened(folder, "classes")
    tensors = opened.tensors()
    hidden = opened.model.run(opened.inputs.plan.only("embeddings"), tensors)["embeddings"]
    first, second = hidden[0 : 2 * ROWS : 2], hidden[1 : 2 * ROWS : 2]
    weights = dict(opened.model.named_parameters())
    features = torch.cat([first, second, (first - second).abs()], dim=1)
    logits = F.linear(
        features,
        weights["embedding_classifier.dense.weight"],
        weights["embedding_classifier.dense.bias"],
    )
    labels = tensors["text_labels"][: 2 * ROWS : 2]
    expected = F.cross_entropy(logits, labels, reduction="sum")
    sums = opened.sums(tensors)
    torch.testing.assert_close(sums["embedding_loss"], expected, rtol=1e-5, atol=1e-4)
    assert float(sums["accuracy"]) == int((logits.argmax(dim=1) == labels).sum())


def test_simcse_has_each_text_twice_with_two_dropout_masks(folder: Path) -> None:
    opened = Opened(folder, "texts")
    tensors = opened.tensors()
    texts = [ids.tolist() for ids in texts_of(tensors)]
    assert texts[0::2] == texts[1::2]
    torch.manual_seed(1)
    vectors = opened.model.train()(tensors)["embeddings"][: len(texts)]
    assert (vectors[0::2] - vectors[1::2]).abs().amax(dim=1).min() > 1e-3
    vectors = opened.model.eval()(tensors)["embeddings"][: len(texts)]
    torch.testing.assert_close(vectors[0::2], vectors[1::2], atol=1e-5, rtol=1e-5)


def test_the_sums_of_a_set_are_those_of_one_batch(folder: Path) -> None:
    """Whatever micro-batches its predictions come from."""
    opened = Opened(folder, "pairs", ", matryoshka: [8]")
    rows = opened.inputs.evaluation["dev"]
    found = []
    for size in (3, 37):
        parts = []
        for batch in evaluation_batches(rows, size):
            (tensors,) = batch.micro_batches
            with torch.no_grad():
                outputs = opened.model(dict(tensors))
            kept = opened.objective.predictions(outputs, tensors)
            real = kept["example_numbers"] > 0
            parts.append({name: tensor[real].numpy() for name, tensor in kept.items()})
        every = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        found.append(opened.objective.set_sums(every))
    (tensors,) = next(iter(evaluation_batches(rows, 37))).micro_batches
    whole = {name: float(value.detach()) for name, value in opened.sums(dict(tensors)).items()}
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    assert found[1] == pytest.approx(whole, rel=1e-5)


# Against sentence-transformers


@needs_sentence_transformers
@pytest.mark.parametrize("kind", ["pairs", "triplets", "scored", "classes"])
def test_losses_equal_those_of_sentence_transformers(folder: Path, kind: str) -> None:
    from sentence_transformers.sentence_transformer import losses

    opened = Opened(folder, kind, ", matryoshka: [16]" if kind in ("pairs", "scored") else "")
    tensors = opened.tensors()
    vectors = opened.model.run(opened.inputs.plan.only("embeddings"), tensors)["embeddings"]
    texts = int((tensors["example_numbers"] > 0).sum())
    per = 4 if kind == "triplets" else 2
    sides = [vectors[at:texts:per].detach() for at in range(per)]

    class Model(nn.Module):
        """Returns embeddings that are known already."""

        device = torch.device("cpu")

        def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"sentence_embedding": features["known"]}

        def get_sentence_embedding_dimension(self) -> int:
            return int(vectors.shape[1])

        get_embedding_dimension = get_sentence_embedding_dimension

    labels = tensors.get("text_labels", torch.zeros(texts))[:texts:2]
    model: Any = Model()
    loss: Any
    if kind in ("pairs", "triplets"):
        loss = losses.MultipleNegativesRankingLoss(model, scale=20.0)
    elif kind == "scored":
        labels = labels.to(torch.int32).view(torch.float32) / 5
        loss = losses.CosineSimilarityLoss(model)
    else:
        loss = losses.SoftmaxLoss(model, vectors.shape[1], 2)
        theirs = dict(opened.model.named_parameters())
        loss.classifier.load_state_dict(
            {n: theirs[f"embedding_classifier.dense.{n}"].detach() for n in ("weight", "bias")}
        )
    if opened.objective.matryoshka:
        loss = losses.MatryoshkaLoss(model, loss, [vectors.shape[1], 16])
    expected = loss([{"known": one} for one in sides], labels)
    mean = opened.sums(tensors)["embedding_loss"].detach() / len(sides[0])
    torch.testing.assert_close(mean, expected.detach(), rtol=1e-5, atol=1e-5)


# Options

GIVEN = "objective={{type: embedding{}}}"


@pytest.mark.parametrize(
    ("options", "others", "message"),
    [
        (", labels: 2", (), "labels is used only with loss = softmax, but loss = multiple_negati"),
        (", loss: softmax", (), "loss = softmax needs labels: their number or their names"),
        (", loss: softmax, labels: [a]", (), "labels: give at least two labels"),
        (", loss: cosine_similarity, temperature: 1.0", (), "temperature is used only with loss ="),
        (", score_range: [0.0, 5.0]", (), "score_range is used only with loss = cosine_similarity"),
        (
            ", loss: cosine_similarity, score_range: [5.0, 0.0]",
            (),
            "the first number must be below",
        ),
        (", matryoshka: [8, 16]", (), "matryoshka: the sizes must be different and descending"),
        (", matryoshka: [64]", (), "objective.matryoshka: 64 is not smaller than the embedding"),
        (", pooling: cls", (), "objective.pooling"),
        ("", ("train.global_batch_size=1",), "train.global_batch_size: 1 leaves no negatives"),
        (
            ", loss: simcse",
            ("data.layout=documents", "model.dropout=0.0"),
            "model.dropout: is 0, but loss = simcse compares two dropout masks",
        ),
        (
            "",
            ("data.layout=labelled",),
            '"labelled" is not supported by objective.type = embedding with objective.loss = '
            "multiple_negatives_ranking. Supported: pairs or triplets.",
        ),
        (
            ", max_length: 129",
            (),
            "objective.max_length = 129 is larger than a row of 128 tokens",
        ),
        (
            "",
            ("engine.deepspeed=pipeline", "engine.pipeline_stages=2"),
            "pipeline stages: loss = multiple_negatives_ranking compares all texts of a step",
        ),
        (
            ", pooling: first",
            ("model.encoder={type: lstm, layers: 1, hidden_size: 16}",),
            "pooling = first reads the first token, which depends on no other token",
        ),
    ],
)
def test_options_that_do_not_fit_are_rejected(
    error_of: Callable[..., str], options: str, others: tuple[str, ...], message: str
) -> None:
    found = error_of("data.layout=pairs", GIVEN.format(options), *others)
    assert message in found
    assert len(found.splitlines()) == 1


def test_a_text_may_be_as_long_as_a_row(load: Callable[..., Recipe]) -> None:
    load("data.layout=pairs", GIVEN.format(", max_length: 128"))


@pytest.mark.parametrize(
    ("options", "positions", "longest", "key"),
    [
        (", max_length: 32", 128, 32, "objective.max_length"),
        ("", 128, 64, "data.sequence_length"),
        ("", 48, 48, "model.embedding.max_sequence_length"),
    ],
)
def test_the_limit_of_a_text_is_named_by_its_key(
    load: Callable[..., Recipe], options: str, positions: int, longest: int, key: str
) -> None:
    recipe = load("data.layout=pairs", "data.sequence_length=64", GIVEN.format(options))
    embedding = recipe.model.embedding.model_copy(update={"positions": positions})
    model = recipe.model.model_copy(update={"embedding": embedding})
    read = recipe.model_copy(update={"model": model})
    source = cast(ModelSource, SimpleNamespace(recipe=lambda: read, data_recipe=lambda: read))
    assert longest_text(source) == longest
    assert limit_of_texts(source) == key


def test_a_score_of_one_size_can_choose_the_best_checkpoint(load: Callable[..., Recipe]) -> None:
    recipe = load(
        *("data.layout=pairs", "data.held_out=0.1", "checkpoint.best=recall@10_8"),
        GIVEN.format(", matryoshka: [8]"),
    )
    assert recipe.objective.higher_is_better("dev/recall@10_8")
    assert recipe.objective.default_layout == "pairs"


def test_scores_outside_of_the_range_are_errors(load: Callable[..., Recipe]) -> None:
    loss = ", loss: cosine_similarity, score_range: [0.0, 5.0]"
    labels = load("data.layout=labelled", GIVEN.format(loss)).objective.label_set
    assert labels is not None
    assert "2.5" in labels
    with pytest.raises(Exception, match=r"outside of objective\.score_range = \[0, 5\]"):
        labels.index_of("5.5")
    with pytest.raises(Exception, match="not a finite number"):
        labels.index_of("good")
