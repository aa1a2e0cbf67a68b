"""The checkpoint format: fragments by canonical parameter name, with checksums.

`checkpoints/global_step<N>/` holds one raw file of fp32 fragments per rank, `run.json` (progress
of the run) and `manifest.json` (the fragments of each file, sizes and checksums). A fragment is a
range of one parameter's weights or of one of its optimizer states, so any layout of ranks can read
a checkpoint of any other. Why not torch.distributed.checkpoint: see `ptm.checkpoint.writing`.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ptm.checkpoint.verification import DamagedCheckpointError, digest_of, verify_file
from ptm.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST, RUN, LATEST, BEST = "manifest.json", "run.json", "latest", "best"
WEIGHT = "weight"
_NAME = re.compile(r"global_step(\d+)")


@dataclass(frozen=True)
class Fragment:
    """`count` values of `kind` of parameter `name` from `start`, at byte offset `at` of a file.

    `kind`: WEIGHT or the name of an optimizer state.
    """

    name: str
    kind: str
    start: int
    count: int
    at: int


def checkpoint_folders(folder: Path) -> list[Path]:
    """Return the checkpoint folders in `folder`, newest first, without verifying them."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def step_of(folder: Path) -> int:
    """Return the step in a checkpoint folder's name."""
    return int(folder.name.removeprefix("global_step"))


class Checkpoint:
    """A checkpoint on disk, opened for reading by `Checkpoint.open`."""

    def __init__(self, folder: Path, manifest: dict[str, Any], run: dict[str, Any]) -> None:
        self.folder = folder
        self.run = run
        self._manifest = manifest

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Checkpoint:
        """Read and check `manifest.json` and `run.json`; with `verify`, all state files as well.

        Raises DamagedCheckpointError for a missing or damaged file, UserError for a checkpoint of
        a later format version.
        """
        try:
            first, _, text = (folder / MANIFEST).read_text(encoding="utf-8").partition("\n")
            if json.loads(first)["blake2b"] != digest_of(text.encode()):
                raise DamagedCheckpointError(
                    f"{folder / MANIFEST}: the file differs from its own checksum"
                )
            manifest = json.loads(text)
            run_text = (folder / RUN).read_bytes()
        except OSError as error:
            name = Path(error.filename or folder).name
            raise DamagedCheckpointError(
                f"{folder}: {name} cannot be read ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedCheckpointError(f"{folder / MANIFEST}: damaged ({error})") from error
        if manifest["format"] > FORMAT:
            raise UserError(
                f"{folder}: the checkpoint was written by a later version of ptm (its format: "
                f"{manifest['format']}; this version reads formats up to {FORMAT}). Install that "
                "version, or start from scratch with --fresh."
            )
        if digest_of(run_text) != manifest["run"]:
            raise DamagedCheckpointError(f"{folder / RUN}: the checksum differs from the manifest")
        checkpoint = cls(folder, manifest, json.loads(run_text))
        if verify:
            checkpoint.verify()
        return checkpoint

    def verify(self, part: int = 0, parts: int = 1) -> None:
        """Check the state files `part`, `part + parts`, ...: all of them by default.

        Raises DamagedCheckpointError.
        """
        for entry in self._manifest["files"][part::parts]:
            verify_file(self.folder / entry["file"], entry)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all ranks' state files, including files that this host does not have."""
        return tuple(entry["file"] for entry in self._manifest["files"])

    def whole_files(self) -> list[str]:
        """Return the names of the state files that exist here and match their checksums."""
        whole = []
        for entry in self._manifest["files"]:
            try:
                verify_file(self.folder / entry["file"], entry)
            except DamagedCheckpointError:
                continue
            whole.append(entry["file"])
        return whole

    @property
    def step(self) -> int:
        """Number of global batches consumed."""
        return int(self.run["step"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by canonical name."""
        return {name: tuple(shape) for name, shape in self._manifest["parameters"].items()}

    @cached_property
    def fragments(self) -> dict[tuple[str, str], list[tuple[Fragment, str]]]:
        """(parameter, kind) -> its fragments by start, each with the name of its file."""
        found: defaultdict[tuple[str, str], list[tuple[Fragment, str]]] = defaultdict(list)
        for entry in self._manifest["files"]:
            for data in entry["fragments"]:
                fragment = Fragment(**data)
                found[fragment.name, fragment.kind].append((fragment, entry["file"]))
        for pieces in found.values():
            pieces.sort(key=lambda piece: piece[0].start)
        return found

    def values(self, name: str, kind: str, start: int, count: int) -> Tensor:
        """Return `count` values of `kind` from `start`, flat, fp32, joined from fragments."""
        parts = []
        for fragment, file in self.fragments[name, kind]:
            first = max(start, fragment.start)
            last = min(start + count, fragment.start + fragment.count)
            if first < last:
                at = fragment.at + 4 * (first - fragment.start)
                parts.append(np.memmap(self.folder / file, np.float32, "r", at, (last - first,)))
        values = np.concatenate(parts) if parts else np.empty(0, np.float32)
        assert values.size == count, f"{self.folder}: {name} has gaps"
        import torch

        return torch.from_numpy(values)

    def weights(self, name: str) -> Tensor:
        """Return a whole parameter, fp32."""
        shape = self.shapes[name]
        return self.values(name, WEIGHT, 0, int(np.prod(shape))).view(shape)


def damage_of(folder: Path, part: int = 0, parts: int = 1) -> str | None:
    """Return why a checkpoint is damaged, or None; checks state files as `Checkpoint.verify`."""
    try:
        Checkpoint.open(folder, verify=False).verify(part, parts)
    except DamagedCheckpointError as error:
        return str(error)
    return None


def newest_checkpoint(
    folder: Path,
    names: Sequence[str] | None = None,
    problem: Callable[[Path], str | None] = damage_of,
) -> Checkpoint | None:
    """Return the newest undamaged checkpoint in `folder`; None if it has no checkpoints.

    `names`: the checkpoints to try, newest first (default: all in `folder`). `problem`: returns why
    one is damaged, or None. Damaged checkpoints are logged and skipped. Raises UserError if all
    are damaged.
    """
    damaged = []
    for name in [path.name for path in checkpoint_folders(folder)] if names is None else names:
        found = problem(folder / name)
        if found is None:
            return Checkpoint.open(folder / name, verify=False)
        damaged.append(found)
        logger.warning("damaged checkpoint skipped: %s", found)
    if damaged:
        raise UserError(
            f"{folder}: all checkpoints are damaged ({'; '.join(damaged)}). `ptm train RECIPE "
            "--fresh` renames this run and starts from scratch."
        )
    return None
