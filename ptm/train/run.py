"""`ptm train`: from a recipe to a finished run."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import ptm
from ptm.checkpoint.format import Checkpoint
from ptm.checkpoint.verification import digest_of
from ptm.durations import clock
from ptm.engines.deepspeed import check_config
from ptm.engines.ds_config import ds_config
from ptm.engines.pipeline import PipelineEngine
from ptm.engines.ranks import (
    Ranks,
    all_gather_objects,
    enable_flight_recorder,
    init_process_group,
    run_on_all_ranks,
    run_on_ranks,
    set_timeout,
)
from ptm.engines.zero import PlainEngine
from ptm.errors import EXIT_DONE, UserError
from ptm.loading.corpus_changes import corpus_changes
from ptm.loading.mixed import source_lines
from ptm.model.initial_weights import InitialWeights
from ptm.model.plain_model import parameter_count
from ptm.rank_environment import launched_ranks
from ptm.recipe import Recipe, recipe_yaml
from ptm.recipe.batch import plan_with
from ptm.recipe.blocks import CheckpointBlock
from ptm.train.display import TrainingDisplay
from ptm.train.header import header_lines
from ptm.train.inputs import TrainingInputs, open_inputs, verify_stores
from ptm.train.machine import MachineSampler
from ptm.train.rank_file import FOLDER as RANKS
from ptm.train.rank_file import TRACES, RankFile
from ptm.train.run_folder import RunFolder
from ptm.train.run_log import log_to
from ptm.train.samples.recorder import SampleRecorder
from ptm.train.saving.resume import checkpoint_to_resume
from ptm.train.stopping import StopRequests
from ptm.train.trackers import Trackers, check_packages
from ptm.train.trainer import OnStepBegin, Trainer, TrainingData, ignore_step
from ptm.train.utilisation import StepFlops
from ptm.train.warm_start.load import WarmStart, load_warm_start

logger = logging.getLogger(__name__)

_BYTES_PER_PARAMETER = 12
"""A checkpoint holds the fp32 weights and two optimizer moments."""


def train(
    load: Callable[[], Recipe],
    *,
    fresh: bool,
    verify: bool = False,
    on_step_begin: OnStepBegin = ignore_step,
) -> int:
    """Train from the start, or resume from the newest complete checkpoint; return the exit code.

    `load` reads the recipe. `verify`: verify stores of any size whole. `on_step_begin` is called on
    every rank before each step, with the number of steps done so far. The process
    group stays initialised, for another training in the same process. If the recipe or an input is
    wrong on any rank, all ranks raise the same UserError before anything is written. Raises
    TrainingError if the training cannot continue.
    """
    if launched_ranks() == 1:
        # With a single rank, check the inputs before starting DeepSpeed.
        recipe = load()
        check_rank_count(recipe.engine.pipeline_stages)
        check_packages(recipe)
        inputs = open_inputs(recipe)
        with StopRequests(wall_time_hours=recipe.train.wall_time_hours) as stop:
            ranks = init_process_group(recipe.engine.backend)
            verify_stores(inputs, whole=verify)
            return _train(recipe, inputs, ranks, stop, fresh=fresh, on_step_begin=on_step_begin)
    ranks = _join(load)
    recipe = run_on_all_ranks(ranks, load)
    run_on_ranks(ranks, lambda: check_packages(recipe), takes_part=ranks.is_main)
    ranks = replace(ranks, pipeline_stages=recipe.engine.pipeline_stages)
    with StopRequests(wall_time_hours=recipe.train.wall_time_hours) as stop:
        inputs = with_smallest_micro_batches(recipe, _open_in_turn(recipe, ranks), ranks)
        run_on_all_ranks(ranks, lambda: check_same_on_all_ranks(recipe, inputs, ranks))
        _verify_stores(inputs, ranks, whole=verify)
        return _train(recipe, inputs, ranks, stop, fresh=fresh, on_step_begin=on_step_begin)


def _join(load: Callable[[], Recipe]) -> Ranks:
    """Initialise the process group.

    Also without a readable recipe on this host, so that all ranks can raise the error.
    """
    try:
        recipe = load()
    except UserError:
        return init_process_group()
    enable_flight_recorder(RunFolder(recipe).path / RANKS / TRACES)
    engine = recipe.engine
    return init_process_group(engine.backend, timeout_minutes=engine.timeout_minutes)


def _open_in_turn(recipe: Recipe, ranks: Ranks) -> TrainingInputs:
    """Open the inputs on one rank per host, which computes and caches indexes, then on the rest."""
    first = run_on_ranks(ranks, lambda: open_inputs(recipe), takes_part=ranks.is_local_main)
    # They opened on one rank of each host, so a further error concerns a single rank.
    other = run_on_all_ranks(ranks, lambda: None if ranks.is_local_main else open_inputs(recipe))
    found = first or other
    assert found is not None, "each rank opens its inputs in one of the two turns"
    return found


def with_smallest_micro_batches(
    recipe: Recipe, inputs: TrainingInputs, ranks: Ranks
) -> TrainingInputs:
    """Give all ranks the choice of the one whose device has the least memory. Collective."""
    if inputs.micro_batch is None:
        return inputs
    choices = all_gather_objects(inputs.micro_batch, ranks)
    choice = min(choices, key=lambda one: one.rows)
    batch = plan_with(inputs.batch, max_micro_batch_size=choice.rows)
    config = ds_config(recipe, batch)
    return replace(inputs, batch=batch, micro_batch=choice, ds_config=config)


def _verify_stores(inputs: TrainingInputs, ranks: Ranks, *, whole: bool) -> None:
    """Verify the stores; the ranks of a host divide the work. Collective."""
    hosts = all_gather_objects(socket.gethostname(), ranks)
    mine = [rank for rank, host in enumerate(hosts) if host == hosts[ranks.rank]]
    part = mine.index(ranks.rank)
    run_on_all_ranks(ranks, lambda: verify_stores(inputs, whole=whole, part=part, parts=len(mine)))


def _train(
    recipe: Recipe,
    inputs: TrainingInputs,
    ranks: Ranks,
    stop: StopRequests,
    *,
    fresh: bool,
    on_step_begin: OnStepBegin,
) -> int:
    run_on_all_ranks(ranks, lambda: check_config(inputs.ds_config, recipe.engine.deepspeed))
    folder = RunFolder(recipe)
    try:
        run_on_ranks(
            ranks,
            lambda: folder.acquire(fresh=fresh),
            takes_part=_manages_folder(recipe.checkpoint, ranks),
        )
        if ranks.is_main:
            stop.watch(folder.stop_file, in_place=lambda: folder.is_in_place)
        with (
            log_to(folder.log, active=ranks.is_main),
            RankFile(folder.path, rank=ranks.rank, world_size=ranks.world_size) as rank_file,
            MachineSampler(
                folder.path,
                seconds=recipe.tracking.system_every,
                is_active=ranks.is_local_main,
            ),
        ):
            code = _train_in(folder, recipe, inputs, ranks, stop, rank_file, on_step_begin)
            rank_file.code = code
            return code
    finally:
        folder.release()


def _manages_folder(block: CheckpointBlock, ranks: Ranks) -> bool:
    """Whether this rank manages a run folder: a shared one, or the one of its host."""
    return ranks.is_local_main if block.node_local else ranks.is_main


def _train_in(
    folder: RunFolder,
    recipe: Recipe,
    inputs: TrainingInputs,
    ranks: Ranks,
    stop: StopRequests,
    rank_file: RankFile,
    on_step_begin: OnStepBegin,
) -> int:
    """Train inside the locked run folder; return the exit code."""
    # Collective: all ranks find the same checkpoint or raise the same error.
    node_local = recipe.checkpoint.node_local
    checkpoint = run_on_all_ranks(
        ranks, lambda: checkpoint_to_resume(folder, inputs, ranks, node_local=node_local)
    )
    parameters = parameter_count(inputs.plan)
    hosts = Counter(all_gather_objects(socket.gethostname(), ranks))
    if checkpoint is not None and (checkpoint.step >= inputs.steps or checkpoint.run["ended"]):
        # Nothing is trained, so the files that describe the run remain those of its last training.
        rank_file.steps = inputs.steps
        rank_file.note("training", checkpoint.step)
        logger.info("%s: the run has already finished, at step %d", folder.path, checkpoint.step)
        return EXIT_DONE
    # Load warm-start weights before recipe.yaml is written: a wrong init_from leaves no run behind.
    start = None if checkpoint else run_on_all_ranks(ranks, lambda: _start(recipe, inputs))
    run_on_all_ranks(
        ranks, lambda: _describe(folder, recipe, inputs, ranks, checkpoint, parameters, hosts)
    )
    for line in header_lines(folder.path, recipe, inputs, ranks, parameters=parameters):
        logger.info("%s", line)
    if inputs.micro_batch is not None:
        logger.info("%s", inputs.micro_batch)
    for line in source_lines(inputs.train, inputs.steps * inputs.batch.global_batch_size):
        logger.info("source %s", line)
    if inputs.train.left_out:
        logger.info("left out of the examples of the first epoch: %s", inputs.train.left_out)
    for name, rows in inputs.evaluation.items():
        if rows.left_out:
            logger.info("left out of the evaluation set %s: %s", name, rows.left_out)
    for change in corpus_changes(inputs.stores(recipe)) if ranks.is_main else ():
        logger.warning("%s", change)
    display = TrainingDisplay(
        steps=inputs.steps, is_active=ranks.is_main, higher=recipe.objective.higher_is_better
    )
    rank_file.on_note = display.note
    rank_file.steps = inputs.steps
    trainer = _trainer(folder, recipe, inputs, ranks, rank_file, display)
    first = InitialWeights(inputs.plan, recipe.model, seed=recipe.seed)
    if checkpoint is not None:
        trainer.resume(checkpoint)
        logger.info("resuming from step %d (%s)", checkpoint.step, checkpoint.folder)
    elif start is not None:
        trainer.start_fresh(first, start.weights, start.provenance())
        logger.info("%s", start)
    else:
        trainer.start_fresh(first)
    began = time.monotonic()
    try:
        with display:
            code = trainer.run(stop, on_step_begin)
    finally:
        trainer.close()
    if code == EXIT_DONE:
        took = clock(time.monotonic() - began)
        logger.info("%s: done in %s", folder.path, took, extra={"is_done": True})
    return code


def _start(recipe: Recipe, inputs: TrainingInputs) -> WarmStart | None:
    """Load the weights that `init_from` names, if any. Raises UserError if they do not fit."""
    source = recipe.start
    if source is None:
        return None
    return load_warm_start(
        source.source,
        inputs.plan,
        inputs.tokenizer,
        recipe.model,
        objective=recipe.objective,
        target=recipe.target_tokenizer,
        every=source.every,
        layers=source.layers,
    )


def _describe(
    folder: RunFolder,
    recipe: Recipe,
    inputs: TrainingInputs,
    ranks: Ranks,
    checkpoint: Checkpoint | None,
    parameters: int,
    hosts: Mapping[str, int],
) -> None:
    if _manages_folder(recipe.checkpoint, ranks):
        folder.check_free_space(_BYTES_PER_PARAMETER * parameters)
        # Without a checkpoint, drop step 0 too: its evaluation is repeated.
        folder.cut_history(checkpoint.step if checkpoint else -1)
        folder.describe(recipe, inputs.ds_config, data=inputs.train.fingerprint, hosts=hosts)


def _trainer(
    folder: RunFolder,
    recipe: Recipe,
    inputs: TrainingInputs,
    ranks: Ranks,
    rank_file: RankFile,
    display: TrainingDisplay,
) -> Trainer:
    kind = PipelineEngine if ranks.pipeline_stages > 1 else PlainEngine
    teachers = inputs.teachers
    engine = kind(recipe, inputs.plan, inputs.ds_config, inputs.batch, ranks, teachers=teachers)
    if ranks.world_size > 1:
        set_timeout(timeout_minutes=recipe.engine.timeout_minutes)
    trackers = Trackers(recipe, folder.path) if ranks.is_main else None
    return Trainer(
        recipe,
        steps=inputs.steps,
        batch=inputs.batch,
        data=TrainingData(inputs.train, inputs.evaluation),
        engine=engine,
        folder=folder,
        ranks=ranks,
        trackers=trackers,
        rank_file=rank_file,
        display=display,
        utilisation=StepFlops(
            inputs.plan,
            recipe.engine,
            ranks,
            runs_twice=recipe.objective.compares_batch,
        ),
        samples=SampleRecorder(
            recipe,
            inputs.evaluation,
            inputs.tokenizer,
            engine,
            ranks,
            micro_batch_size=inputs.batch.micro_batch_size,
            folder=folder.path,
            trackers=trackers,
        ),
        teachers=teachers.fingerprints if teachers else (),
    )


def check_rank_count(stages: int) -> None:
    """Raise UserError if a model has several pipeline stages, but only one rank was started."""
    if stages > 1:
        raise UserError(
            f"engine.pipeline_stages = {stages} needs {stages} ranks or a multiple of them, but "
            f"only one was started. Use `ptm launch --num-gpus {stages} RECIPE`, or set "
            "engine.pipeline_stages: 1."
        )


def check_same_on_all_ranks(recipe: Recipe, inputs: TrainingInputs, ranks: Ranks) -> None:
    """Raise UserError if the recipe or inputs differ from those of rank 0. Collective."""
    mine = {
        "the recipe": digest_of(recipe_yaml(recipe).encode()),
        "data.store": inputs.train.fingerprint,
        "data.evaluation": digest_of(
            " ".join(rows.store.info.fingerprint for rows in inputs.evaluation.values()).encode()
        ),
        "the teachers": inputs.teachers.fingerprints if inputs.teachers else (),
        "the vocabulary": inputs.tokenizer.fingerprint,
        "the files that objective names": inputs.train.objective.fingerprint,
        "ds_configs": digest_of(json.dumps(inputs.ds_config, sort_keys=True).encode()),
        "the version of ptm": ptm.__version__,
    }
    first = all_gather_objects(mine, ranks)[0]
    different = [name for name, value in mine.items() if value != first[name]]
    if different:
        raise UserError(
            f"different from rank 0: {' and '.join(different)}. Use the same on all hosts."
        )
