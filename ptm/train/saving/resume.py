"""Find the checkpoint to resume from, and check that it fits the recipe's inputs."""

from __future__ import annotations

import logging
from pathlib import Path

from ptm.checkpoint.format import Checkpoint, checkpoint_folders, damage_of, newest_checkpoint
from ptm.checkpoint.verification import DamagedCheckpointError
from ptm.engines.ranks import Ranks, all_gather_objects, broadcast_from_rank0
from ptm.errors import UserError
from ptm.train.inputs import TrainingInputs
from ptm.train.run_folder import RunFolder
from ptm.train.saving.node_local import gather_newest_checkpoint

logger = logging.getLogger(__name__)


def checkpoint_to_resume(
    folder: RunFolder, inputs: TrainingInputs, ranks: Ranks, *, node_local: bool
) -> Checkpoint | None:
    """Return the newest complete checkpoint of a run folder, or None. Collective.

    `node_local`: each host stores the files of its own ranks. Raises UserError if the checkpoint
    was trained on other data, files or teachers, or is past the recipe's last step.
    """
    if node_local and ranks.world_size > 1:
        checkpoint = gather_newest_checkpoint(folder.checkpoints, ranks)
    else:
        checkpoint = _newest_checkpoint(folder, ranks)
    if checkpoint is not None:
        _check_same_data(checkpoint, inputs)
    return checkpoint


def _newest_checkpoint(folder: RunFolder, ranks: Ranks) -> Checkpoint | None:
    """The newest complete checkpoint; each rank verifies a share of its files."""
    names = broadcast_from_rank0(
        ranks, lambda: [path.name for path in checkpoint_folders(folder.checkpoints)]
    )

    def open_verified(path: Path) -> Checkpoint:
        every = all_gather_objects(damage_of(path, ranks.rank, ranks.world_size), ranks)
        found = next((problem for problem in every if problem is not None), None)
        if found is not None:
            raise DamagedCheckpointError(found)
        return Checkpoint.open(path, verify=False)

    return newest_checkpoint(folder.checkpoints, names, open_verified)


def _check_same_data(checkpoint: Checkpoint, inputs: TrainingInputs) -> None:
    steps = inputs.steps
    if checkpoint.run["store"] != inputs.train.fingerprint:
        before = checkpoint.run.get("source_stores", {})
        folders = " and ".join(
            f'"{rows.store.folder}"'
            for name, rows in inputs.train.sources.items()
            if before.get(name) != rows.fingerprint
        )
        raise UserError(
            f"{checkpoint.folder}: the checkpoint was trained on other data than data.store = "
            f"{folders} contains now. Restore the original store, or start from scratch with "
            "--fresh."
        )
    if checkpoint.run.get("objective_files", "") != inputs.train.objective.fingerprint:
        files = " or ".join(inputs.train.objective.input_files.values())
        raise UserError(
            f"{checkpoint.folder}: the checkpoint was trained with another content of {files}. "
            "Restore the original content, or start from scratch with --fresh."
        )
    saved = checkpoint.run["evaluation_stores"]
    now = inputs.evaluation_fingerprints
    changed = [name for name, fingerprint in saved.items() if now.get(name) != fingerprint]
    if changed:
        raise UserError(
            f"{checkpoint.folder}: the run was evaluated on other data than the store of "
            f"{' and '.join(changed)} contains now. Restore the original store, or start from "
            "scratch with --fresh."
        )
    if checkpoint.shapes != dict(inputs.plan.parameter_shapes):
        names = checkpoint.shapes.keys() ^ inputs.plan.parameter_shapes.keys()
        raise UserError(
            f"{checkpoint.folder}: the checkpoint does not hold the parameters of this model"
            f"{f' ({min(names)})' if names else ''}. Start from scratch with --fresh."
        )
    teachers = inputs.teachers.fingerprints if inputs.teachers else ()
    if checkpoint.run.get("teachers", []) != list(teachers):
        raise UserError(
            f"{checkpoint.folder}: the checkpoint was distilled from other weights than "
            "objective.teacher has now. Restore the original teacher, or start from scratch with "
            "--fresh."
        )
    if steps < checkpoint.step:
        raise UserError(
            f"train.steps = {steps}, but the run is already at step {checkpoint.step} "
            f"({checkpoint.folder}). Increase train.steps, or start from scratch with --fresh."
        )
    if steps != checkpoint.run["steps"]:
        logger.info(
            "train.steps changed from %d to %d: the schedule is recomputed",
            checkpoint.run["steps"],
            steps,
        )
