"""A finished run and its store as files, written without training: a second instead of ten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ptm.checkpoint.format import LATEST, RUN, Fragment
from ptm.checkpoint.writing import write_fragments, write_manifest
from ptm.files.kinds import CHECKPOINT
from ptm.files.ownership import mark_folder
from ptm.model.build import build_plan
from ptm.recipe import Recipe, load_recipe
from ptm.store.reader import TokenStore
from ptm.train.run_folder import RunFolder
from tests.support.small_runs import QUICKSTART, small_overrides

STEPS = (4, 8, 12)


def write_run(
    store: Path, runs: Path, name: str, *overrides: str, std: float | None = None
) -> Path:
    """Write the folder of a run with checkpoints of random weights at STEPS, and return it.

    `std`: deviation of normally distributed weights; by default they are small and positive, so
    that all texts have nearly the same outputs.
    """
    recipe = load_recipe(
        str(QUICKSTART / "roberta-tiny.yaml"), small_overrides(store, runs, name, *overrides)
    )
    folder = RunFolder(recipe)
    folder.acquire(fresh=False)
    folder.describe(recipe, {}, data="0" * 32, hosts={"host": 1})
    record = {"epoch": 0, "rows": 8, "examples": 9, "tokens": 99, "loss": 8.5, "perplexity": 99.0}
    reports = [
        {"step": step, "split": split, **record} for step in STEPS for split in ("train", "eval")
    ]
    folder.metrics.write_text("".join(json.dumps(report) + "\n" for report in reports))
    (folder.path / "events.jsonl").write_text('{"step": 3, "action": "skip"}\n')
    folder.log.write_text("")
    folder.release()
    for step in STEPS:
        _write_random_checkpoint(recipe, folder.checkpoints / f"global_step{step}", step, std)
    (folder.checkpoints / LATEST).write_text(f"global_step{STEPS[-1]}")
    return folder.path


def write_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    *,
    store: str = "",
    tokenizer: str = "",
) -> None:
    """Write a checkpoint of one rank. `tensors`: parameter -> kind -> values.

    `store` and `tokenizer`: the fingerprints in run.json.
    """
    folder.mkdir(parents=True)
    mark_folder(folder, CHECKPOINT)
    run: dict[str, Any] = {
        "step": step,
        "updates": step,
        "skipped": 0,
        "scaler": None,
        "position": {"step": step, "row": 8 * step, "examples": 9 * step, "tokens": 99 * step},
        "window": {"sums": {}, "steps": 0, "skipped": 0},
        "patience": {"best": None, "misses": 0},
        "best": None,
        "watch": {"loss": [8.5], "gradient norm": [1.0], "count": 0},
        "steps": STEPS[-1],
        "ended": False,
        "started_from": None,
        "teachers": [],
        "store": store,
        "tokenizer": tokenizer,
        "objective_files": "",
    }
    (folder / RUN).write_text(json.dumps(run, indent=1))
    pieces, at = [], 0
    for name, kinds in tensors.items():
        for kind, values in kinds.items():
            fragment = Fragment(name, kind, 0, values.numel(), at)
            pieces.append((fragment, values.flatten()))
            at += 4 * values.numel()
    entry = write_fragments(folder / "rank00000.bin", pieces)
    write_manifest(
        folder, {name: kinds["weight"].shape for name, kinds in tensors.items()}, [entry]
    )


def _write_random_checkpoint(recipe: Recipe, folder: Path, step: int, std: float | None) -> None:
    store = TokenStore.open(recipe.data.store).info
    size = recipe.tokenizer.load().vocabulary.size
    shapes = build_plan(recipe.model, recipe.objective, vocabulary_size=size).parameter_shapes
    generator = torch.Generator().manual_seed(step)
    tensors = {
        name: {
            kind: 0.02 * torch.rand(shape, generator=generator)
            if std is None or kind != "weight"
            else std * torch.randn(shape, generator=generator)
            for kind in ("weight", *recipe.optimizer.states(shape, hidden=False))
        }
        for name, shape in shapes.items()
    }
    write_checkpoint(folder, step, tensors, store=store.fingerprint, tokenizer=store.tokenizer)
