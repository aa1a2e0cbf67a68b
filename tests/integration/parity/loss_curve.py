"""Trains recipes with ptm's own engine and writes down the loss of every step.

    python loss_curve.py --deepspeed zero0 zero1 -- FOLDER [FOLDER …]

One engine after another for each `recipe.yaml` and each configuration, in a process of their own: a
process can be in one process group. Every folder gets `NAME.json` a configuration, and
`first.safetensors`, the weights that its first engine began with.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

from safetensors.torch import save_file

from ptm.model.build import FirstWeights
from ptm.recipe import load_recipe
from ptm.train.batches import TrainStream
from ptm.train.distributed import Ranks, join_ranks, leave_ranks
from ptm.train.engines.contract import StepTotals
from ptm.train.engines.plain import PlainEngine
from ptm.train.inputs import open_inputs


def train(folder: Path, configuration: str, ranks: Ranks) -> None:
    """Train the recipe in `folder`; its curve and its first weights are left there."""
    recipe = load_recipe(str(folder / "recipe.yaml"), [f"engine.deepspeed={configuration}"])
    inputs = open_inputs(recipe)
    engine = PlainEngine(recipe, inputs.plan, inputs.ds_config, inputs.batch, ranks)
    engine.state.begin(FirstWeights(inputs.plan, recipe.model, seed=recipe.seed), {})
    if not (folder / "first.safetensors").exists():
        weights = {n: p.detach().clone() for n, p in engine.model.named_parameters()}
        save_file(weights, folder / "first.safetensors")
    stream = TrainStream(inputs.train, inputs.batch, data_rank=0)
    curve: dict[str, list[float]] = {"loss": [], "grad_norm": []}
    for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
        rate = recipe.optimizer.learning_rate * recipe.schedule.factor(step, inputs.steps)
        totals = StepTotals(batch.counts, batch.capacity, batch.examples, batch.tokens)
        result = engine.train_step(batch, totals, step=step, learning_rate=rate)
        for name, series in curve.items():
            series.append(float(result.shares[name]))
    (folder / f"{configuration}.json").write_text(json.dumps(curve), encoding="utf-8")


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--deepspeed", nargs="+", required=True)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    ranks = join_ranks()
    for folder in options.folders:
        for configuration in options.deepspeed:
            train(folder, configuration, ranks)
    leave_ranks()


if __name__ == "__main__":
    main()
