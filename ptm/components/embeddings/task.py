"""Tasks: which of its pretraining tasks a model is at (Sun et al. 2020, "ERNIE 2.0")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptm.components.embeddings.base import EmbeddingPart

if TYPE_CHECKING:
    from torch import nn

    from ptm.components.embeddings.config import EmbeddingConfig


class Task(EmbeddingPart):
    """The same vector for every token, from a table of which one row is in use."""

    name = "task"
    # Whichever: the layers after it read these too.
    reads = "example_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """The table (tasks, E)."""
        from ptm.nn.embedding import TaskTable

        return TaskTable(config.tasks, width)
