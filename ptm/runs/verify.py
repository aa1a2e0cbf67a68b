"""`ptm verify`: read all checkpoints of a run, or token stores, and report what is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ptm.checkpoint.format import Checkpoint, checkpoint_folders
from ptm.checkpoint.verification import DamagedCheckpointError
from ptm.errors import UserError
from ptm.model.build import build_plan
from ptm.recipe import ModelRecipe, Recipe, recipe_from_data
from ptm.recipe.saved_files import RECIPE, read_recipe_data, with_own_tokenizers
from ptm.store.format import MANIFEST
from ptm.store.reader import TokenStore


@dataclass(frozen=True)
class Verified:
    """A checkpoint or a store, and its problem, or None if it is complete."""

    name: str
    problem: str | None
    is_required: bool = True
    """Whether its damage is an error; false for checkpoints that are older than the newest."""


def verify(path: Path) -> Iterator[Verified]:
    """Verify the checkpoints of a run, the newest first, or a token store, or those of a mixture.

    Raises UserError if `path` is neither, or a run without checkpoints.
    """
    if not path.is_dir():
        raise UserError(f'"{path}" is not a folder. Give the folder of a run, runs/NAME.')
    if (path / MANIFEST).exists():
        yield _verified_store(path)
        return
    folders = checkpoint_folders(path / "checkpoints")
    stores = sorted(manifest.parent for manifest in path.glob(f"*/{MANIFEST}"))
    if stores and not folders:
        yield from map(_verified_store, stores)
        return
    if not folders:
        raise UserError(f"{path}: the run has no checkpoint.")
    shapes = _shapes(path)
    for folder in folders:
        problem = _problem(folder, shapes)
        yield Verified(folder.name, problem, is_required=folder == folders[0])


def _verified_store(path: Path) -> Verified:
    try:
        TokenStore.open(path).verify()
    except UserError as error:
        return Verified(path.name, str(error))
    return Verified(path.name, None)


def _shapes(run: Path) -> Mapping[str, tuple[int, ...]]:
    """The shapes of all parameters of the run's model.

    Raises UserError if its recipe is damaged.
    """
    data = with_own_tokenizers(read_recipe_data(run / RECIPE), run)
    kind = Recipe if "train" in data else ModelRecipe
    recipe = recipe_from_data(data, kind, name=str(run / RECIPE))
    target = recipe.target_tokenizer
    size = recipe.tokenizer.load().vocabulary.size
    target_size = target.load(key="target_tokenizer").vocabulary.size if target else None
    plan = build_plan(
        recipe.model,
        recipe.objective,
        vocabulary_size=size,
        target_vocabulary_size=target_size,
    )
    if isinstance(recipe, Recipe) and recipe.adapter is not None:
        plan = recipe.adapter.adapted(plan)
    return plan.parameter_shapes


def _problem(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Why a checkpoint is damaged or incomplete, or None."""
    try:
        found = Checkpoint.open(folder).shapes
    except (DamagedCheckpointError, UserError) as error:
        return str(error)
    if found == dict(shapes):
        return None
    missing = sorted(shapes.keys() - found.keys())
    if missing:
        return f"{folder}: the checkpoint lacks {missing[0]} ({len(missing)} parameters)"
    return f"{folder}: the checkpoint holds the parameters of another model than recipe.yaml"
