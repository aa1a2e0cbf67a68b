"""Sentence embeddings: one vector per text, compared by cosine.

Reimers and Gurevych 2019 (Sentence-BERT), Gao et al. 2021 (SimCSE), Kusupati et al. 2022
(Matryoshka representations). The losses are those of sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ptm.components.objectives.base import EXAMPLE_NUMBERS, Metric, Score
from ptm.components.objectives.embedded_texts import HASHES, LABELS, ROLES, EmbeddedTexts, Loss
from ptm.components.objectives.scores.correlation import pearson, spearman
from ptm.components.objectives.scores.retrieval import (
    RETRIEVAL_SCORES,
    RetrievalTask,
    retrieval_scores,
)
from ptm.nn.model_shape import ANCHOR, NEGATIVE
from ptm.text.labels import numbers_of

if TYPE_CHECKING:
    from torch import Tensor

_TEMPERATURE = 0.05
_ROWS_TOGETHER = 512


class Embedding(EmbeddedTexts):
    """Embed texts so that the cosine of two embeddings says how similar the texts are."""

    type: Literal["embedding"]

    @property
    def metrics(self) -> tuple[Metric, ...]:  # type: ignore[override]
        loss = Metric("embedding_loss", count="examples", weight=1.0)
        accuracy = Metric("accuracy", count="examples", higher_is_better=True)
        return (loss,) if self.loss == "cosine_similarity" else (loss, accuracy)

    @property
    def scores(self) -> tuple[Score, ...]:  # type: ignore[override]
        names: Mapping[Loss, tuple[str, ...]] = {
            "multiple_negatives_ranking": RETRIEVAL_SCORES,
            "cosine_similarity": ("pearson", "spearman"),
        }
        return tuple(
            Score(f"{name}{suffix}", higher_is_better=True)
            for suffix in self._sizes
            for name in names.get(self.loss, ())
        )

    @property
    def _sizes(self) -> Mapping[str, int | None]:
        """The sizes of embeddings by the suffix of their scores; None is the whole embedding."""
        return {"": None, **{f"_{size}": size for size in self.matryoshka}}

    def metric_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        from ptm.nn.heads import class_sums

        if self.compares_batch:
            one = {name: tensor[None] for name, tensor in outputs.items()}
            return self.batch_sums(one, {n: tensors[n][None] for n in self.targets}, slice(0, 1))
        real = tensors[EXAMPLE_NUMBERS][0::2]
        if self.loss == "softmax":
            labels = tensors[LABELS][0::2]
            loss, hits = class_sums(outputs["pair_logits"], labels, real)
            return {"embedding_loss": loss, "accuracy": hits}
        wanted = self._wanted_cosines(tensors)
        errors = [
            (cosines - wanted).masked_fill(real == 0, 0.0).square().sum()
            for cosines in self._cosines(outputs)
        ]
        return {"embedding_loss": sum(errors[1:], start=errors[0])}

    def _wanted_cosines(self, tensors: Mapping[str, Tensor]) -> Tensor:
        import torch

        # The labels of a store are integers: here the bits of fp32 (`NumberLabels`).
        numbers = tensors[LABELS][0::2].to(torch.int32).view(torch.float32)
        low, high = self._score_range
        return (numbers - low) / (high - low)

    def _cosines(self, outputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The cosine of each pair (P / 2), for each size of the embeddings."""
        from ptm.nn.in_batch_negatives import pair_cosines

        return [pair_cosines(outputs["embeddings"][:, :size]) for size in self._sizes.values()]

    def batch_sums(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor], mine: slice
    ) -> dict[str, Tensor]:
        import torch

        embeddings = outputs["embeddings"]
        texts = embeddings.shape[1]
        rows = torch.arange(mine.start * texts, mine.stop * texts, device=embeddings.device)
        return self._sums(
            embeddings.flatten(0, 1), tensors[ROLES].flatten(), tensors[HASHES].flatten(), rows
        )

    def _sums(
        self, embeddings: Tensor, roles: Tensor, hashes: Tensor, rows: Tensor
    ) -> dict[str, Tensor]:
        from ptm.nn.in_batch_negatives import ranking_sums

        temperature = self.temperature or _TEMPERATURE
        found = [
            ranking_sums(embeddings[:, :size], roles, hashes, rows, temperature=temperature)
            for size in self._sizes.values()
        ]
        loss = sum((one for one, _ in found[1:]), start=found[0][0])
        return {"embedding_loss": loss, "accuracy": found[0][1]}

    def set_sums(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        import torch

        embeddings, roles, hashes = (
            torch.from_numpy(np.ascontiguousarray(predictions[name]))
            for name in ("embedding", "role", "hash")
        )
        totals = {metric.name: 0.0 for metric in self.metrics}
        with torch.no_grad():
            for rows in torch.nonzero(roles == ANCHOR)[:, 0].split(_ROWS_TOGETHER):  # type: ignore[no-untyped-call]
                for name, value in self._sums(embeddings, roles, hashes, rows).items():
                    totals[name] += float(value)
        return totals

    def predictions(
        self, outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the embedding of every text (P), or label and cosines of every pair (P / 2)."""
        import torch

        numbers = tensors[EXAMPLE_NUMBERS]
        if self.compares_batch:
            return {
                EXAMPLE_NUMBERS: numbers,
                "embedding": outputs["embeddings"].float(),
                "role": tensors[ROLES],
                "hash": tensors[HASHES],
            }
        return {
            EXAMPLE_NUMBERS: numbers[0::2],
            "label": tensors[LABELS][0::2],
            "cosines": torch.stack(self._cosines(outputs), dim=1),
        }

    def compute_scores(self, predictions: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        found: dict[str, float] = {}
        if self.loss == "cosine_similarity":
            labels = numbers_of(predictions["label"])
            for suffix, cosines in zip(self._sizes, predictions["cosines"].T, strict=True):
                found[f"pearson{suffix}"] = pearson(labels, cosines)
                found[f"spearman{suffix}"] = spearman(labels, cosines)
            return found
        roles = predictions["role"]
        anchors = np.flatnonzero(roles == ANCHOR)
        negatives = np.flatnonzero(roles == NEGATIVE)
        task = RetrievalTask.of(anchors, anchors + 1, negatives, predictions["hash"])
        for suffix, size in self._sizes.items():
            ranks = task.ranks(predictions["embedding"][:, :size])
            scores = retrieval_scores(task, ranks)
            found |= {f"{name}{suffix}": value for name, value in scores.items()}
        return found
