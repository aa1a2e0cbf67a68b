"""Scores over all examples of a set: each counted once, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptm.components.objectives.base import EXAMPLE_NUMBERS, Score
from ptm.components.objectives.classification import Classification
from ptm.engines.predictions import PredictionCollector, figures_of


class Recording(Classification):
    """A classification that shows what its scores are computed from."""

    scores = (Score("macro_f1", higher_is_better=True),)

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        text = "".join(str(one) for one in predictions["predicted"].tolist())
        return {"macro_f1": float(text)}


OBJECTIVE = Recording.model_validate({"type": "classification", "labels": 9})


def micro_batch(numbers: list[int], classes: list[int]) -> tuple[dict[str, Tensor], Any]:
    logits = torch.nn.functional.one_hot(torch.tensor(classes), 9).to(torch.bfloat16)
    tensors = {EXAMPLE_NUMBERS: torch.tensor(numbers), "class_labels": torch.tensor(classes)}
    return {"class_logits": logits}, tensors


def collected(*batches: tuple[list[int], list[int]]) -> PredictionCollector:
    collector = PredictionCollector(OBJECTIVE)
    for numbers, classes in batches:
        collector.add(*micro_batch(numbers, classes))
    return collector


def test_scores_see_the_examples_in_the_order_of_their_numbers() -> None:
    found = collected(([3, 1], [7, 5]), ([4, 2], [8, 6]))
    assert figures_of(found.arrays, OBJECTIVE, expected=4).scores == {"macro_f1": 5678.0}


def test_padding_is_dropped_and_repeated_examples_count_once() -> None:
    found = collected(([2, 1, 0, 0], [6, 5, 1, 1]), ([1, 0, 0, 0], [5, 1, 1, 1]), ([0], [3]))
    assert figures_of(found.arrays, OBJECTIVE, expected=2).scores == {"macro_f1": 56.0}


def test_a_missing_example_is_noticed() -> None:
    with pytest.raises(AssertionError, match="1 of 2 predictions were made"):
        figures_of(collected(([1], [5])).arrays, OBJECTIVE, expected=2)


def test_nothing_is_collected_without_scores() -> None:
    class Unscored(Classification):
        scores = ()

    collector = PredictionCollector(
        Unscored.model_validate({"type": "classification", "labels": 9})
    )
    collector.add(*micro_batch([1], [1]))
    assert dict(collector.arrays) == {}
