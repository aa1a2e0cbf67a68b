"""Tasks: which of its pretraining tasks a model is at (Sun et al. 2020, "ERNIE 2.0")."""

from __future__ import annotations

from torch import Tensor, nn

from ptm.components.embeddings.base import EmbeddingConfig, EmbeddingPart


class TaskTable(nn.Embedding):
    """A row a task; what is trained here is task 0."""

    def forward(self, example_ids: Tensor) -> Tensor:
        """(B, T) -> the row (E) that every token gets."""
        row: Tensor = self.weight[0]
        return row


class Task(EmbeddingPart):
    """The same vector for every token, from a table of which one row is in use."""

    name = "task"
    # Whichever: the layers after it read these too.
    reads = "example_ids"

    @classmethod
    def build(cls, config: EmbeddingConfig, width: int) -> nn.Module:
        """The table (tasks, E)."""
        return TaskTable(config.tasks, width)
