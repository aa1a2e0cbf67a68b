"""The rows to train on of a mixture of named sources, each with a store of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ptm.arrays import I64
from ptm.components.objectives import MicroBatch
from ptm.components.objectives.base import RandomSource
from ptm.data.examples import TokenSpans
from ptm.data.mixture import Mixture
from ptm.data.placement import Placement
from ptm.loading.rows import PackedDataset
from ptm.loading.training_rows import TrainingRows

_EXAMPLES_PER_SOURCE = 2**40
"""Distance between the numbers of the examples of two sources, so that their draws differ."""


class MixedDataset(TrainingRows):
    """The rows of several sources, in proportion to their weights.

    Each source is an endless sequence of shuffled passes of its own, which the mixture reads in
    order: it continues where it was, whether an epoch of the mixture ends or not.

    An epoch of the mixture ends when every source has been read to the end of a further pass
    (`repeat`), or when the first one has (`stop`).
    """

    def __init__(
        self,
        sources: Mapping[str, PackedDataset],
        weights: Mapping[str, float],
        *,
        exhaustion: Literal["repeat", "stop"],
        seed: int,
        split: str,
    ) -> None:
        """`seed` and `split`: of the random draws in a batch."""
        # By name, so that the order of the recipe, which is that of a mapping, changes no row.
        self._sources = dict(sorted(sources.items()))
        self._every = tuple(self._sources.values())
        self._mixture = Mixture([weights[name] for name in self._sources])
        # Of the sources' passes, the one that counts the epochs of the mixture.
        self._counted = min if exhaustion == "repeat" else max
        self._exhaustion = exhaustion
        self._random_source = RandomSource(seed, split)
        self.objective = self._every[0].objective
        self.vocabularies = self._every[0].vocabularies
        self.packs_sides_apart = self._every[0].packs_sides_apart

    def __len__(self) -> int:
        ends = [self._mixture.length_of(at, len(one)) for at, one in enumerate(self._every)]
        return max(ends) if self._exhaustion == "repeat" else min(ends)

    @property
    def sources(self) -> Mapping[str, PackedDataset]:
        return self._sources

    @property
    def fingerprint(self) -> str:
        stores = {name: rows.fingerprint for name, rows in self._sources.items()}
        return hashlib.blake2b(json.dumps(stores).encode(), digest_size=16).hexdigest()

    @property
    def fill(self) -> float:
        fills = (rows.fill for rows in self._every)
        return sum(share * fill for share, fill in zip(self._mixture.shares, fills, strict=True))

    @property
    def left_out(self) -> str:
        found = {name: rows.left_out for name, rows in self._sources.items()}
        return "; ".join(f"{name}: {what}" for name, what in found.items() if what)

    def epoch_of(self, position: int) -> int:
        passes = zip(self._every, self._mixture.rows_before(position), strict=True)
        return self._counted(rows.epoch_of(count) for rows, count in passes)

    def rows_before(self, position: int) -> Mapping[str, int]:
        return dict(zip(self._sources, self._mixture.rows_before(position), strict=True))

    def micro_batches(self, positions: I64, *, size: int) -> list[MicroBatch]:
        sources, within = self._mixture.locate(positions)
        epochs, rows = np.empty_like(within), np.empty_like(within)
        for source in np.unique(sources):
            mine = sources == source
            epochs[mine], rows[mine] = self._every[source].locate(within[mine])
            self._every[source].prefetch(int(within[mine][-1]))
        return [
            self._micro_batch(sources[part], rows[part], epochs[part])
            for part in (slice(at, at + size) for at in range(0, positions.size, size))
        ]

    def _micro_batch(self, sources: I64, rows: I64, epochs: I64) -> MicroBatch:
        """Collate the `rows` of `sources`, with the draws of `epochs` (one entry per row each).

        The rows of a source follow each other, whatever their order in the mixture.
        """
        placements: list[Placement] = []
        texts: list[TokenSpans] = []
        for source in np.unique(sources).tolist():
            mine = sources == source
            placement = self._every[source].layout(rows[mine], epochs[mine])
            texts.append(self._every[source].texts(placement))
            placements.append(
                replace(placement, example=placement.example + source * _EXAMPLES_PER_SOURCE)
            )
        return self.objective.collate(
            TokenSpans.joined(texts),
            Placement.joined(placements),
            vocabularies=self.vocabularies,
            random_source=self._random_source,
        )

    def describe(self, positions: I64, *, text: bool) -> dict[str, Any]:
        sources, within = self._mixture.locate(positions)
        return {
            "epoch": self.epoch_of(int(positions[0])),
            "sources": {
                name: rows.describe(within[sources == at], text=text)
                for at, (name, rows) in enumerate(self._sources.items())
                if (sources == at).any()
            },
        }


def source_lines(rows: TrainingRows, positions: int) -> Iterator[str]:
    """Describe the named sources of `rows`, one line each; nothing without named sources.

    `positions`: number of rows of the whole training.
    """
    for name, count in rows.rows_before(positions).items():
        source = rows.sources[name]
        yield (
            f"{name}: {100 * count / positions:.2f} % of the rows; {count:,} rows = "
            f"{count / len(source):.2f} passes over {len(source):,} rows "
            f"({source.lengths.size:,} examples, {int(source.lengths.sum()):,} tokens, "
            f"{100 * source.fill:.2f} % of all positions)"
        )
