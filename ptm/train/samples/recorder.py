"""Sample predictions of a training: computed at evaluations, written to samples.jsonl."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from ptm.components.objectives import MicroBatch
from ptm.engines.base import Engine
from ptm.engines.predictions import Predictions, Reduce
from ptm.engines.ranks import Ranks
from ptm.loading.batches import step_batch
from ptm.loading.rows import PackedDataset
from ptm.model.build import training_plan
from ptm.plan import Plan
from ptm.recipe import Recipe
from ptm.recipe.saved_files import SAMPLES
from ptm.text.tokenizers import Tokenizer
from ptm.train.line_file import LineFile
from ptm.train.samples.base import Sampler, Tokenizers, sampler_class, typical_examples
from ptm.train.samples.record import SampleRecord
from ptm.train.trackers import Trackers

logger = logging.getLogger(__name__)


class SampleRecorder:
    """Predicts the same examples of the first evaluation set again and again.

    Nothing of the training depends on it: the model is in evaluation mode and no random number is
    drawn. All ranks call the same methods in the same order, and predict the same examples, because
    under ZeRO 3 a forward pass needs all of them.
    """

    def __init__(
        self,
        recipe: Recipe,
        sets: Mapping[str, PackedDataset],
        tokenizer: Tokenizer,
        engine: Engine,
        ranks: Ranks,
        *,
        micro_batch_size: int,
        folder: Path,
        trackers: Trackers | None,
    ) -> None:
        self._name = next(iter(sets), "")
        self._engine = engine
        self._trackers = trackers
        self._padded_rows = micro_batch_size if ranks.pipeline_stages > 1 else None
        self._plan: Plan | None = None
        self._file = LineFile(folder / SAMPLES) if ranks.is_main else None
        self._samplers: list[Sampler] = []
        kind = sampler_class(recipe.objective)
        if not (recipe.tracking.samples and sets):
            return
        if kind is None or (kind.outputs is not None and ranks.pipeline_stages > 1):
            why = " with pipeline stages" if kind is not None else ""
            logger.info("objective %s has no sample predictions%s", recipe.objective.type, why)
            return
        rows = sets[self._name]
        self._objective = rows.objective
        if kind.outputs is not None:
            self._plan = training_plan(
                recipe,
                vocabulary_size=rows.vocabularies.source.size,
                target_vocabulary_size=rows.vocabularies.target.size,
                outputs=kind.outputs,
            )
        examples = typical_examples(rows.lengths, recipe.tracking.samples)
        target = recipe.target_tokenizer
        tokenizers = Tokenizers(tokenizer, tokenizer if target is None else target.load())
        # As many rows at a time as fit into memory in training.
        make = partial(kind, rows, tokenizers=tokenizers)
        groups = np.array_split(examples, -(-len(examples) // micro_batch_size))
        self._samplers = [make(examples=group) for group in groups]

    def record(self, *, step: int) -> None:
        """Predict, and write the samples of `step`. Collective."""
        if not self._samplers:
            return
        samples = [one for sampler in self._samplers for one in sampler.sample(self._infer)]
        if self._file is None:
            return
        record = SampleRecord(step=step, evaluation=self._name, samples=tuple(samples))
        self._file.append(record.model_dump_json())
        if self._trackers is not None:
            self._trackers.log_samples(record)

    def close(self) -> None:
        """Close samples.jsonl."""
        if self._file is not None:
            self._file.close()

    def _infer(self, part: MicroBatch, reduce: Reduce) -> Predictions:
        batch = step_batch([part], self._objective, micro_batch_size=self._padded_rows)
        return self._engine.infer(batch, reduce, plan=self._plan)
