"""Tables of positions, segments and tasks: their number of rows, and the rows in use."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from ptm.components.embeddings import EmbeddingConfig
from ptm.components.embeddings.position import Position
from ptm.components.embeddings.segment import Segment
from ptm.components.embeddings.task import Task


def config_of(**changes: Any) -> EmbeddingConfig:
    return EmbeddingConfig.model_validate(changes)


def test_position_0_is_the_row_after_the_offset() -> None:
    config = config_of(positions=10, position_offset=2)
    table = Position.build(config, 4)
    assert table.weight.shape == (10, 4)
    found = table(torch.tensor([[0, 1, 0]]))[0]
    assert torch.equal(found, table.get_parameter("weight")[[2, 3, 2]])


def test_the_offset_reduces_the_longest_sequence() -> None:
    assert config_of(positions=514, position_offset=2).max_sequence_length == 512
    assert config_of().max_sequence_length == 512
    assert config_of(parts=["word", "sinusoidal"]).max_sequence_length is None


def test_the_segment_table_has_one_row_more_than_segments() -> None:
    assert Segment.build(config_of(), 4).weight.shape == (3, 4)
    assert Segment.build(config_of(segments=1), 4).weight.shape == (2, 4)


def test_every_token_gets_the_row_of_task_0() -> None:
    table = Task.build(config_of(parts=["word", "task"], tasks=5), 4)
    assert table.weight.shape == (5, 4)
    added = torch.zeros(2, 3, 4) + table(torch.ones(2, 3, dtype=torch.int64))
    row = table.get_parameter("weight")[0]
    assert torch.equal(added, row.expand(2, 3, 4))


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"parts": ["word", "sinusoidal"], "position_offset": 2}, ("position_offset = 2", "word")),
        ({"positions": 8, "position_offset": 8}, ("position_offset = 8", "positions = 8")),
    ],
)
def test_an_offset_without_positions_is_rejected(
    changes: dict[str, Any], both: tuple[str, ...]
) -> None:
    with pytest.raises(ValidationError) as error:
        config_of(**changes)
    for words in both:
        assert words in str(error.value)
