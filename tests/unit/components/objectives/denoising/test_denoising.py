"""Behaviour shared by T5, BART and PEGASUS: rows of both sides, model outputs, loss, options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ptm.components.objectives.bart import Bart
from ptm.components.objectives.denoising import Denoising
from ptm.components.objectives.gsg import Gsg
from ptm.components.objectives.t5 import T5
from ptm.data.packing import RowSize
from tests.unit.components.objectives.denoising.denoised_rows import DenoisedRows, examples_of

if TYPE_CHECKING:
    from ptm.store.reader import TokenStore
    from ptm.text.vocabulary import Vocabulary

OBJECTIVES: dict[str, Denoising] = {
    "t5": T5(type="t5"),
    "t5-joined": T5(type="t5", concatenate=True),
    "bart": Bart(type="bart"),
    "gsg": Gsg(type="gsg", selection="random"),
}


KINDS = ("t5", "bart", "gsg")


@pytest.fixture(scope="module", params=OBJECTIVES.values(), ids=list(OBJECTIVES))
def rows(
    request: pytest.FixtureRequest, sentence_store: TokenStore, vocabulary: Vocabulary
) -> DenoisedRows:
    return DenoisedRows(sentence_store, vocabulary, request.param)


@pytest.fixture(scope="module")
def crowded(rows: DenoisedRows) -> list[int]:
    """Rows with several examples, unless every example fills a row."""
    return rows.crowded_rows(6)


# Rows


def test_both_sides_of_every_example_have_their_special_tokens(rows: DenoisedRows) -> None:
    cls, sep = (rows.vocabulary.special_id(role) for role in ("cls", "sep"))
    for example in examples_of(rows.batch(rows.all_rows())):
        assert (example.source[0], example.source[-1]) == (cls, sep)
        assert example.read[0] == cls
        assert example.given[-1] == sep
        assert example.read[1:] == example.given[:-1]


def test_no_example_is_longer_than_its_row_length(rows: DenoisedRows) -> None:
    chosen = rows.all_rows()
    examples = examples_of(rows.batch(chosen))
    for example, longest in zip(examples, rows.lengths[rows.members(chosen)], strict=True):
        assert len(example.source) <= longest[0]
        assert len(example.given) <= longest[1]


def test_positions_and_segments_end_with_the_noised_text(
    rows: DenoisedRows, crowded: list[int]
) -> None:
    tensors = rows.batch(crowded).tensors
    for side in ("", "decoder_"):
        padding = tensors[f"{side}example_ids"] == 0
        assert (tensors[f"{side}segment_ids"] == ~padding).all()
        pad = rows.vocabulary.special_id("pad")
        assert np.array_equal(tensors[f"{side}input_ids"] == pad, padding)
        for ids, numbers in zip(
            tensors[f"{side}position_ids"], tensors[f"{side}example_ids"], strict=True
        ):
            for number in range(1, numbers.max() + 1):
                here = ids[numbers == number]
                assert here.tolist() == list(range(here.size))
    assert np.array_equal(tensors["target_weights"] == 0, tensors["decoder_example_ids"] == 0)


def test_counts_match_the_tensors(rows: DenoisedRows, crowded: list[int]) -> None:
    batch = rows.batch(crowded)
    assert batch.counts == {"predicted": batch.tensors["target_weights"].sum()}
    sides = [(batch.tensors[f"{side}example_ids"] > 0).sum() for side in ("", "decoder_")]
    assert batch.tokens == sum(sides)
    assert batch.examples == batch.tensors["example_ids"].max(axis=1).sum()


def test_without_cls_the_decoder_begins_with_padding(
    sentence_store: TokenStore, vocabulary: Vocabulary
) -> None:
    tokens = tuple("other" if token == "[CLS]" else token for token in vocabulary.tokens)
    without = type(vocabulary)(tokens, vocabulary.specials, "words.txt")
    example = examples_of(DenoisedRows(sentence_store, without, T5(type="t5")).batch([0]))[0]
    assert example.read[0] == without.special_id("pad")
    assert example.source[-1] == without.special_id("sep")
    assert vocabulary.special_id("cls") not in example.source


# Dependence of noise on example, batch, epoch and seed


def test_an_example_has_the_same_noise_in_any_batch_packed_or_alone(
    rows: DenoisedRows, crowded: list[int]
) -> None:
    alone = DenoisedRows(rows.store, rows.vocabulary, rows.objective, size=rows.size, packing=False)
    members = rows.members(crowded)
    assert examples_of(rows.batch(crowded)) == examples_of(alone.batch(members.tolist()))
    backwards = examples_of(alone.batch(members[::-1].tolist()))
    assert backwards[::-1] == examples_of(rows.batch(crowded))


def test_every_epoch_has_new_noise(rows: DenoisedRows) -> None:
    chosen = rows.long_rows()
    first, second, again = (examples_of(rows.batch(chosen, epoch=epoch)) for epoch in (0, 1, 0))
    assert first == again
    long = [pair for pair in zip(first, second, strict=True) if len(pair[0].source) > 40]
    assert sum(one != other for one, other in long) > len(long) / 2
    assert rows.objective.index_variants == 1, "the examples are fixed; only the noise changes"


def test_epochs_cycle_through_the_duplicates(rows: DenoisedRows) -> None:
    static = rows.objective.model_copy(update={"dynamic": False, "duplicates": 3})
    fixed = DenoisedRows(rows.store, rows.vocabulary, static, size=rows.size)
    epochs = [examples_of(fixed.batch(fixed.long_rows(), epoch=epoch)) for epoch in range(6)]
    assert epochs[:3] == epochs[3:]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_seeds_give_different_noise(rows: DenoisedRows) -> None:
    first, second = (rows.batch(rows.long_rows(), seed=seed) for seed in (7, 8))
    assert examples_of(first) != examples_of(second)


# The model


@pytest.fixture(
    scope="module", params=[OBJECTIVES[name] for name in KINDS], ids=lambda one: one.type
)
def small(
    request: pytest.FixtureRequest, letter_store: TokenStore, letter_vocabulary: Vocabulary
) -> DenoisedRows:
    return DenoisedRows(letter_store, letter_vocabulary, request.param, size=RowSize(64, 48))


@pytest.mark.parametrize("place", [0, 1, 5])
def test_outputs_do_not_depend_on_later_decoder_tokens(small: DenoisedRows, place: int) -> None:
    model = small.model("logits").eval()
    tensors = small.tensors(list(small.all_rows()))
    changed = {**tensors, "decoder_input_ids": tensors["decoder_input_ids"].clone()}
    real = tensors["decoder_example_ids"] > 0
    at = real & (tensors["decoder_position_ids"] == place)
    changed["decoder_input_ids"][at] = small.vocabulary.special_id("unk")
    with torch.no_grad():
        before, after = model(tensors)["logits"], model(changed)["logits"]
    differs = (before - after).abs().amax(dim=-1) > 1e-6
    assert differs[at].any()
    assert not differs[real & (tensors["decoder_position_ids"] < place)].any()


@pytest.mark.parametrize("side", ["", "decoder_"])
def test_examples_in_a_row_do_not_attend_to_each_other(small: DenoisedRows, side: str) -> None:
    model = small.model("logits").eval()
    tensors = small.tensors(small.crowded_rows(4))
    ids = tensors[f"{side}input_ids"].clone()
    ids[tensors[f"{side}example_ids"] == 1] = small.vocabulary.special_id("unk")
    with torch.no_grad():
        before = model(tensors)["logits"]
        after = model({**tensors, f"{side}input_ids": ids})["logits"]
    differs = (before - after).abs().amax(dim=-1) > 1e-6
    numbers = tensors["decoder_example_ids"]
    assert differs[numbers == 1].any()
    assert not differs[numbers > 1].any()


def test_one_batch_can_be_memorised(small: DenoisedRows) -> None:
    torch.manual_seed(0)
    model, chosen = small.model(), [0]
    tensors, count = small.tensors(chosen), small.batch(chosen).counts["predicted"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        sums = small.objective.metric_sums(model(tensors), tensors)
        optimizer.zero_grad()
        (sums["lm_loss"] / count).backward()
        optimizer.step()
    assert sums["lm_accuracy"] / count > 0.95


# Options


@pytest.mark.parametrize("name", KINDS)
def test_duplicates_are_rejected_with_dynamic_noise(name: str) -> None:
    kind = type(OBJECTIVES[name])
    with pytest.raises(ValidationError, match="duplicates = 3 has no effect with dynamic: true"):
        kind.model_validate({"type": name, "duplicates": 3, "dynamic": True})
