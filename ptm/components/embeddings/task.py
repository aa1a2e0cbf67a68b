"""Task embeddings: the pretraining task in progress (Sun et al. 2020, "ERNIE 2.0")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class Task(EmbeddingPart):
    """The same vector for every token, from a table of which one row is used."""

    name = "task"
    # The values are ignored, any tensor would do; later layers read example_ids anyway.
    reads = "example_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """Build the table (tasks, E)."""
        from ptm.nn.embedding import TaskTable

        return TaskTable(config.tasks, width)
