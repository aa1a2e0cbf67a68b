"""Behaviour shared by BERT and ALBERT: rows of sentence pairs, head, loss and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ptm.components.objectives.albert import Albert
from ptm.components.objectives.bert import Bert
from ptm.components.objectives.masking.whole_word import WholeWordMasking
from ptm.components.objectives.sentence_pairs import SentencePairs
from ptm.loading.batches import step_batch
from ptm.model.build import build_plan
from ptm.model.initial_weights import initialise
from ptm.model.plain_model import PlainModel
from ptm.recipe.model_block import ModelBlock
from ptm.text.segmenters.rjieba import RJieba
from tests.unit.components.objectives.pair_rows import LENGTH, PairRows
from tests.unit.components.objectives.test_mlm import original_ids, predicted

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from tests.conftest import BuildStore, RealText

OBJECTIVES: list[SentencePairs] = [Bert(type="bert"), Albert(type="albert")]
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


@pytest.fixture(scope="module")
def store(
    real_text: RealText, build_store: BuildStore, tmp_path_factory: pytest.TempPathFactory
) -> TokenStore:
    return build_store(
        tmp_path_factory.mktemp(f"{real_text.name}-sentences"),
        real_text.as_layout("sentences"),
        vocab=real_text.vocab,
        layout="sentences",
        segmenter=RJieba(type="rjieba"),
    )


@pytest.fixture(scope="module", params=OBJECTIVES, ids=lambda objective: objective.type)
def packed(request: pytest.FixtureRequest, store: TokenStore, real_text: RealText) -> PairRows:
    return PairRows(store, real_text.tokenizer.vocabulary, request.param)


def model_of(rows: PairRows) -> PlainModel:
    plan = build_plan(BLOCK, rows.objective, vocabulary_size=rows.vocabulary.size)
    model = PlainModel(plan)
    initialise(model, BLOCK, seed=7)
    return model


def tensors_of(rows: PairRows, numbers: list[int]) -> dict[str, torch.Tensor]:
    return dict(step_batch([rows.batch(numbers)], rows.objective).micro_batches[0])


# Rows


def test_every_example_is_two_texts_between_special_tokens(packed: PairRows) -> None:
    numbers = packed.crowded_rows(20)
    batch = packed.batch(numbers)
    ids, segments = original_ids(batch), batch.tensors["segment_ids"]
    cls, sep = (packed.vocabulary.special_id(role) for role in ("cls", "sep"))
    examples, counts = packed.rows.members(np.array(numbers))
    assert counts.max() > 1
    at = 0
    for row, count in enumerate(counts):
        for number in range(1, count + 1):
            here = batch.tensors["example_ids"][row] == number
            pairs, example = packed.pairs, examples[at]
            halves = [
                packed.store.tokens(starts[[example]], lengths[[example]]).tolist()
                for starts, lengths in (
                    (pairs.first_starts, pairs.first_lengths),
                    (pairs.second_starts, pairs.second_lengths),
                )
            ]
            assert ids[row][here].tolist() == [cls, *halves[0], sep, *halves[1], sep]
            expected = [1] * (len(halves[0]) + 2) + [2] * (len(halves[1]) + 1)
            assert segments[row][here].tolist() == expected
            positions = batch.tensors["position_ids"][row][here]
            assert positions.tolist() == list(range(here.sum()))
            at += 1
    assert at == batch.examples == batch.counts["pairs"]


def test_labels_and_positions_match_the_examples(packed: PairRows) -> None:
    numbers = packed.crowded_rows(9)
    batch = packed.batch(numbers)
    examples, _ = packed.rows.members(np.array(numbers))
    assert batch.tensors["pair_labels"].tolist() == packed.pairs.labels[examples].tolist()
    cls = packed.vocabulary.special_id("cls")
    at = batch.tensors["pair_positions"]
    assert np.array_equal(at, np.flatnonzero(original_ids(batch) == cls))
    assert batch.tensors["pair_weights"].tolist() == [1] * examples.size


def test_special_tokens_are_never_predicted(packed: PairRows) -> None:
    batch = packed.batch(range(0, len(packed.rows), 7))
    assert not packed.vocabulary.is_special[original_ids(batch)][predicted(batch)].any()


def test_whole_words_are_masked_in_both_halves(store: TokenStore, packed: PairRows) -> None:
    objective = packed.objective.model_copy(update={"masking": WholeWordMasking(unit="whole_word")})
    rows = PairRows(store, packed.vocabulary, objective)
    batch = rows.batch(range(0, len(rows.rows), 11))
    chosen, segments = predicted(batch), batch.tensors["segment_ids"]
    assert chosen[segments == 1].any()
    assert chosen[segments == 2].any()


# Head and loss


def test_head_parameters_have_canonical_names(packed: PairRows) -> None:
    names = dict(model_of(packed).named_parameters())
    assert names["pooler.dense.weight"].shape == (32, 32)
    assert names["pooler.dense.bias"].shape == (32,)
    assert names["pair_classifier.weight"].shape == (2, 32)
    assert names["pair_classifier.bias"].shape == (2,)
    steps = [step.name for step in model_of(packed).plan.operations]
    assert steps.index("pooler") + 1 == steps.index("pair_classifier")
    assert steps.index("pair_classifier") + 1 == steps.index("mlm_transform")


def test_a_packed_row_equals_its_examples_alone(packed: PairRows) -> None:
    alone = PairRows(packed.store, packed.vocabulary, packed.objective, packing=False)
    model = model_of(packed)
    numbers = packed.crowded_rows(4)
    examples, _ = packed.rows.members(np.array(numbers))
    with torch.no_grad():
        together = tensors_of(packed, numbers)
        single = tensors_of(alone, examples.tolist())
        ours, theirs = model(together), model(single)
    real = examples.size
    assert torch.equal(together["pair_labels"][:real], single["pair_labels"][:real])
    assert torch.allclose(
        ours["pair_logits"][:real], theirs["pair_logits"][:real], rtol=1e-5, atol=1e-6
    )
    sums, sums_alone = (
        packed.objective.metric_sums(*both) for both in ((ours, together), (theirs, single))
    )
    for name, value in sums.items():
        assert value.item() == pytest.approx(sums_alone[name].item(), rel=1e-5), name


def test_padded_pairs_do_not_count_in_loss_and_accuracy(packed: PairRows) -> None:
    tensors = tensors_of(packed, packed.crowded_rows(2))
    count = int(tensors["pair_weights"].sum())
    assert count < tensors["pair_weights"].numel()
    outputs = model_of(packed)(tensors)
    sums = packed.objective.metric_sums(outputs, tensors)
    cut = {
        **tensors,
        **{name: tensors[name][:count] for name in ("pair_labels", "pair_weights")},
    }
    shorter = packed.objective.metric_sums(
        {**outputs, "pair_logits": outputs["pair_logits"][:count]}, cut
    )
    name = packed.objective.metric_prefix
    assert sums[f"{name}_loss"].item() == pytest.approx(shorter[f"{name}_loss"].item())
    assert sums[f"{name}_accuracy"] == shorter[f"{name}_accuracy"] <= count


def test_one_batch_can_be_memorised(packed: PairRows) -> None:
    torch.manual_seed(0)
    model, objective = model_of(packed), packed.objective
    rows = packed.crowded_rows(1)
    tensors, counts = tensors_of(packed, rows), packed.batch(rows).counts
    assert set(tensors["pair_labels"].tolist()) == {0, 1}
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        sums = objective.metric_sums(model(tensors), tensors)
        terms = (m.weight * sums[m.name] / counts[m.count] for m in objective.metrics)
        loss = sum(terms, start=torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    sums = objective.metric_sums(model(tensors), tensors)
    accuracies = [m for m in objective.metrics if m.name.endswith("accuracy")]
    assert len(accuracies) == 2
    for metric in accuracies:
        assert sums[metric.name] / counts[metric.count] > 0.95, metric.name


# Options


@pytest.mark.parametrize("kind", [Bert, Albert])
def test_duplicates_are_rejected_with_dynamic_pairs(kind: Any) -> None:
    name = kind.__name__.lower()
    with pytest.raises(ValidationError, match="duplicates = 3 has no effect with dynamic: true"):
        kind(type=name, duplicates=3)
    assert kind(type=name).index_variants is None
    assert kind(type=name, dynamic=False, duplicates=3).index_variants == 3


def test_metrics_have_the_expected_names_counts_and_weights() -> None:
    for objective, name in zip(OBJECTIVES, ("nsp", "sop"), strict=True):
        terms = {metric.name: (metric.count, metric.weight) for metric in objective.metrics}
        assert terms == {
            "mlm_loss": ("predicted", 1.0),
            "mlm_accuracy": ("predicted", 0.0),
            f"{name}_loss": ("pairs", 1.0),
            f"{name}_accuracy": ("pairs", 0.0),
        }
