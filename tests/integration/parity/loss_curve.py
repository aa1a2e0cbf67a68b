"""Train recipes with ptm's engine and write the loss of every step.

    python loss_curve.py zero0=FOLDER [zero1=FOLDER ...]

Each argument is one training run of `FOLDER/recipe.yaml` under that DeepSpeed configuration. The
runs have their own process, since a process can be in only one process group. A folder gets
`zero0.json` with the curve and `first.safetensors` with the initial weights.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path

from safetensors.torch import save_file

from ptm.engines.base import StepTotals
from ptm.engines.ranks import Ranks, destroy_process_group, init_process_group
from ptm.engines.zero import PlainEngine
from ptm.loading.batches import TrainStream
from ptm.model.initial_weights import InitialWeights
from ptm.recipe import load_recipe
from ptm.train.inputs import open_inputs


def train(folder: Path, configuration: str, ranks: Ranks) -> None:
    """Train the recipe in `folder`; write its curve and its initial weights there."""
    recipe = load_recipe(str(folder / "recipe.yaml"), [f"engine.deepspeed={configuration}"])
    inputs = open_inputs(recipe)
    engine = PlainEngine(recipe, inputs.plan, inputs.ds_config, inputs.batch, ranks)
    engine.state.initialise(InitialWeights(inputs.plan, recipe.model, seed=recipe.seed), {})
    if not (folder / "first.safetensors").exists():
        weights = {n: p.detach().clone() for n, p in engine.model.named_parameters()}
        save_file(weights, folder / "first.safetensors")
    stream = TrainStream(inputs.train, inputs.batch, data_parallel_rank=0)
    curve: dict[str, list[float]] = {"loss": [], "grad_norm": []}
    for step, batch in zip(range(inputs.steps), stream.steps(0), strict=False):
        rate = recipe.optimizer.learning_rate * recipe.schedule.factor(step, inputs.steps)
        totals = StepTotals(batch.counts, batch.capacity, batch.examples, batch.tokens)
        result = engine.train_step(batch, totals, step=step, learning_rate=rate)
        for name, series in curve.items():
            series.append(float(result.local_metrics[name]))
    (folder / f"{configuration}.json").write_text(json.dumps(curve), encoding="utf-8")


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("trainings", nargs="+", metavar="CONFIGURATION=FOLDER")
    options = parser.parse_args()
    ranks = init_process_group()
    for training in options.trainings:
        configuration, _, folder = training.partition("=")
        train(Path(folder), configuration, ranks)
    destroy_process_group()


if __name__ == "__main__":
    main()
