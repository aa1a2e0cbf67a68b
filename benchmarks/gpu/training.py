"""An engine of ptm in training on random texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.batches import Texts, made_vocabulary, random_batch
from ptm.engines.attention import check_attention
from ptm.engines.base import StepResult, StepTotals
from ptm.engines.ds_config import ds_config
from ptm.engines.ranks import Ranks, init_process_group
from ptm.engines.zero import PlainEngine
from ptm.loading.batches import StepBatch
from ptm.model.build import build_plan
from ptm.model.initial_weights import InitialWeights
from ptm.recipe import Recipe, load_recipe
from ptm.recipe.batch import batches_of
from ptm.train.stopping import all_gather_step
from ptm.train.utilisation import StepFlops

RECIPES = Path(__file__).parents[2] / "recipes"


@dataclass(frozen=True)
class Training:
    """An engine and the batches that it trains on, in turn."""

    recipe: Recipe
    engine: PlainEngine
    ranks: Ranks
    flops: StepFlops
    batches: tuple[tuple[StepBatch, StepTotals], ...]

    def step(self, number: int, *, learning_rate: float = 1e-4) -> StepResult:
        """Make one update; `number` is the number of earlier ones."""
        batch, totals = self.batches[number % len(self.batches)]
        return self.engine.train_step(batch, totals, step=number, learning_rate=learning_rate)

    def close(self) -> None:
        """Free the engine's memory, which DeepSpeed's hooks on the parameters would keep."""
        parameters = list(self.engine.model.parameters())
        self.engine.close()
        self.engine._deepspeed.destroy()
        for parameter in parameters:
            parameter.grad = None
            # DeepSpeed's links from a parameter to its fragments and partitions.
            vars(parameter).clear()


def start_training(
    recipe_file: str,
    overrides: Sequence[str],
    *,
    texts: Texts,
    vocabulary_size: int | None = None,
    batches: int = 4,
) -> Training:
    """Build the model of a recipe with its initial weights on this process's device.

    `recipe_file`: path below recipes/. `vocabulary_size`: by default that of the recipe. `batches`:
    number of different batches.
    """
    ranks = init_process_group()
    recipe = load_recipe(str(RECIPES / recipe_file), overrides)
    check_attention(recipe.engine)
    size = vocabulary_size or recipe.tokenizer.size
    assert size is not None, "the recipes of this benchmark have a vocabulary size"
    vocabulary = made_vocabulary(size)
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    batch = batches_of(recipe.train, recipe.engine)
    engine = PlainEngine(recipe, plan, ds_config(recipe, batch), batch, ranks)
    engine.state.initialise(InitialWeights(plan, recipe.model, seed=recipe.seed), {})
    flops = StepFlops(plan, recipe.engine, ranks)
    made = [
        random_batch(recipe, batch, vocabulary, texts=texts, seed=number)
        for number in range(batches)
    ]
    with_totals = tuple((one, _totals(one, flops, ranks)) for one in made)
    return Training(recipe, engine, ranks, flops, with_totals)


def _totals(batch: StepBatch, flops: StepFlops, ranks: Ranks) -> StepTotals:
    return all_gather_step(batch, flops.of(batch.sizes), ranks, code=None, saving=0.0).totals
