"""`ptm train`: from a recipe to a finished run."""

from __future__ import annotations

import logging

from ptm.errors import EXIT_DONE, UserError
from ptm.interop.start import weights_to_start_from
from ptm.model.build import parameter_count
from ptm.model.checkpoint import Checkpoint
from ptm.recipe import Recipe
from ptm.recipe.batch import launched_ranks
from ptm.train.distributed import Ranks, barrier, join_ranks
from ptm.train.engine import Engine
from ptm.train.inputs import Inputs, open_inputs
from ptm.train.logs import log_to
from ptm.train.run_folder import RunFolder
from ptm.train.stopping import StopRequests
from ptm.train.trackers import Trackers
from ptm.train.trainer import Data, Trainer

logger = logging.getLogger(__name__)

_BYTES_AN_ELEMENT = 12
"""A checkpoint keeps fp32 weights and two moments."""


def train(recipe: Recipe, *, fresh: bool) -> int:
    """Train from the beginning, or on from the newest whole checkpoint; return the exit code.

    The process group stays, for another training of the same process. Raises UserError for
    whatever is wrong with the recipe's inputs, before anything is written.
    """
    inputs = open_inputs(recipe)
    folder = RunFolder(recipe)
    with StopRequests(wall_time_hours=recipe.train.wall_time_hours) as stop:
        # Alone, the folder is taken first: what is wrong with it is said before DeepSpeed starts.
        if launched_ranks() == 1:
            folder.take(fresh=fresh)
        ranks = join_ranks()
        if launched_ranks() > 1 and ranks.first:
            folder.take(fresh=fresh)
        barrier(ranks)
        try:
            with log_to(folder.log, active=ranks.first):
                return _train_in(folder, recipe, inputs, ranks, stop)
        finally:
            folder.leave()


def _train_in(
    folder: RunFolder, recipe: Recipe, inputs: Inputs, ranks: Ranks, stop: StopRequests
) -> int:
    """Inside the locked folder."""
    checkpoint = folder.newest_checkpoint()
    if checkpoint is not None:
        _refuse_other_data(checkpoint, inputs)
    parameters = parameter_count(inputs.plan)
    if ranks.first:
        folder.refuse_full_disk(_BYTES_AN_ELEMENT * parameters)
        folder.cut_metrics(checkpoint.step if checkpoint else 0)
        folder.describe(recipe, inputs.ds_config, inputs.train.store.info.fingerprint)
    if checkpoint is not None and (checkpoint.step >= inputs.steps or checkpoint.run["ended"]):
        logger.info("%s: the run is finished, at step %d", folder.path, checkpoint.step)
        return EXIT_DONE
    logger.info(
        "%s: %s parameters, %s rows an epoch (%.1f %% real tokens), %d steps, %s",
        folder.path,
        f"{parameters:,}",
        f"{len(inputs.train):,}",
        100 * inputs.train.fill,
        inputs.steps,
        inputs.batch,
    )
    trainer = _trainer(folder, recipe, inputs, ranks)
    if checkpoint is not None:
        trainer.resume(checkpoint)
        logger.info("going on from step %d (%s)", checkpoint.step, checkpoint.folder)
    elif recipe.init_from is not None:
        start = weights_to_start_from(
            recipe.init_from, inputs.plan, inputs.tokenizer, recipe.model.encoder
        )
        trainer.start_from(start.weights, start.story())
        logger.info("%s", start)
    try:
        return trainer.run(stop)
    finally:
        trainer.close()


def _trainer(folder: RunFolder, recipe: Recipe, inputs: Inputs, ranks: Ranks) -> Trainer:
    engine = Engine(recipe, inputs.plan, inputs.ds_config, inputs.batch, ranks)
    return Trainer(
        recipe,
        steps=inputs.steps,
        batch=inputs.batch,
        data=Data(inputs.train, inputs.held_out),
        engine=engine,
        folder=folder,
        ranks=ranks,
        trackers=Trackers(recipe, folder.path) if ranks.first else None,
    )


def _refuse_other_data(checkpoint: Checkpoint, inputs: Inputs) -> None:
    store, steps = inputs.train.store, inputs.steps
    if checkpoint.run["store"] != store.info.fingerprint:
        raise UserError(
            f"{checkpoint.folder}: was trained on other data than data.store = "
            f'"{store.folder}" holds now. Use the store it began with, or --fresh.'
        )
    if steps < checkpoint.step:
        raise UserError(
            f"train.steps = {steps}, but the run is at step {checkpoint.step} already "
            f"({checkpoint.folder}): give more steps, or --fresh."
        )
    if steps != checkpoint.run["steps"]:
        logger.info(
            "train.steps was %d and is %d: the schedule is derived anew",
            checkpoint.run["steps"],
            steps,
        )
