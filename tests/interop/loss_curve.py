"""Trains a recipe with ptm's own engine and writes down the loss of every step.

    python loss_curve.py RECIPE OUT [engine.deepspeed=zero1 …]

One engine after another for each of the given configurations, in a process of their own: a process
can be in one process group. OUT gets `NAME.json` a configuration, and `first.safetensors`, the
weights that the first engine began with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import save_file

from ptm.model.build import FirstWeights
from ptm.recipe import load_recipe
from ptm.train.batches import TrainStream
from ptm.train.distributed import join_ranks, leave_ranks
from ptm.train.engines.contract import StepTotals
from ptm.train.engines.plain import PlainEngine
from ptm.train.inputs import open_inputs


def main(recipe_path: str, out: Path, configurations: list[str]) -> None:
    ranks = join_ranks()
    for override in configurations:
        recipe = load_recipe(recipe_path, [override])
        inputs = open_inputs(recipe)
        engine = PlainEngine(recipe, inputs.plan, inputs.ds_config, inputs.batch, ranks)
        engine.state.begin(FirstWeights(inputs.plan, recipe.model, seed=recipe.seed), {})
        if not (out / "first.safetensors").exists():
            weights = {n: p.detach().clone() for n, p in engine.model.named_parameters()}
            save_file(weights, out / "first.safetensors")
        stream = TrainStream(inputs.train, inputs.batch, data_rank=0)
        curve = {"loss": [], "grad_norm": []}
        for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
            factor = recipe.schedule.factor(step, inputs.steps)
            rate = recipe.optimizer.learning_rate * factor
            totals = StepTotals(batch.counts, batch.capacity, batch.examples, batch.tokens)
            result = engine.train_step(batch, totals, step=step, learning_rate=rate)
            for name, series in curve.items():
                series.append(float(result.shares[name]))
        name = override.partition("=")[2]
        (out / f"{name}.json").write_text(json.dumps(curve), encoding="utf-8")
    leave_ranks()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
