"""The checkpoint format: fragments in canonical names, verified before they are read.

`checkpoints/global_step<N>/` holds one raw file of fp32 fragments a rank, `run.json` (where the run
is) and `manifest.json` (what is where, with sizes and checksums). A fragment is a range of one
parameter's weights or of one state of its optimizer, so any layout of ranks reads what any other
wrote. Why not torch.distributed.checkpoint: see `ptm.checkpoint.writing`.
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
    """`count` values of `kind` of parameter `name` from `start`, at byte `at` of a file."""

    name: str
    kind: str
    start: int
    count: int
    at: int


def checkpoint_folders(folder: Path) -> list[Path]:
    """Checkpoints by name, the newest first; whether they are whole is another question."""
    if not folder.is_dir():
        return []
    found = [(int(m[1]), p) for p in folder.iterdir() if (m := _NAME.fullmatch(p.name))]
    return [path for _, path in sorted(found, reverse=True)]


def step_of(folder: Path) -> int:
    """The step in a checkpoint's name."""
    return int(folder.name.removeprefix("global_step"))


class Checkpoint:
    """A checkpoint that was found whole."""

    def __init__(self, folder: Path, manifest: dict[str, Any], run: dict[str, Any]) -> None:
        self.folder = folder
        self.run = run
        self._manifest = manifest

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Checkpoint:
        """Read the manifest and check everything against it; not the state where `verify` is off.

        Raises DamagedCheckpointError; UserError for one that a later version has written.
        """
        try:
            first, _, text = (folder / MANIFEST).read_text(encoding="utf-8").partition("\n")
            if json.loads(first)["blake2b"] != digest_of(text.encode()):
                raise DamagedCheckpointError(f"{folder / MANIFEST}: its checksum does not fit")
            manifest = json.loads(text)
            run_text = (folder / RUN).read_bytes()
        except OSError as error:
            name = Path(error.filename or folder).name
            raise DamagedCheckpointError(
                f"{folder}: {name} cannot be read ({error.strerror})"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedCheckpointError(f"{folder / MANIFEST}: is damaged ({error})") from error
        if manifest["format"] > FORMAT:
            raise UserError(
                f"{folder}: was written by a later version of ptm (format {manifest['format']}; "
                f"this one reads up to {FORMAT}): install that version, or train anew with --fresh."
            )
        if digest_of(run_text) != manifest["run"]:
            raise DamagedCheckpointError(f"{folder / RUN}: its checksum does not fit the manifest")
        checkpoint = cls(folder, manifest, json.loads(run_text))
        if verify:
            checkpoint.verify()
        return checkpoint

    def verify(self, part: int = 0, parts: int = 1) -> None:
        """Check the `part`-th of `parts` shares of the state. Raises DamagedCheckpointError."""
        for entry in self._manifest["files"][part::parts]:
            verify_file(self.folder / entry["file"], entry)

    @property
    def files(self) -> tuple[str, ...]:
        """The ranks' files, wherever they are."""
        return tuple(entry["file"] for entry in self._manifest["files"])

    def whole_files(self) -> list[str]:
        """The ranks' files that are here and fit their checksums."""
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
        """Global batches consumed."""
        return int(self.run["step"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by canonical name."""
        return {name: tuple(shape) for name, shape in self._manifest["parameters"].items()}

    @cached_property
    def fragments(self) -> dict[tuple[str, str], list[tuple[Fragment, str]]]:
        """By parameter and kind: its fragments in order, each with the file that holds it."""
        found: defaultdict[tuple[str, str], list[tuple[Fragment, str]]] = defaultdict(list)
        for entry in self._manifest["files"]:
            for data in entry["fragments"]:
                fragment = Fragment(**data)
                found[fragment.name, fragment.kind].append((fragment, entry["file"]))
        for pieces in found.values():
            pieces.sort(key=lambda piece: piece[0].start)
        return found

    def values(self, name: str, kind: str, start: int, count: int) -> Tensor:
        """`count` fp32 values from `start`, put together from whatever fragments hold them."""
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
        """A whole parameter, fp32."""
        shape = self.shapes[name]
        return self.values(name, WEIGHT, 0, int(np.prod(shape))).view(shape)


def problem_with(folder: Path, part: int = 0, parts: int = 1) -> str | None:
    """What is wrong with a checkpoint, as far as a share of its state tells."""
    try:
        Checkpoint.open(folder, verify=False).verify(part, parts)
    except DamagedCheckpointError as error:
        return str(error)
    return None


def newest_checkpoint(
    folder: Path,
    names: Sequence[str] | None = None,
    problem: Callable[[Path], str | None] = problem_with,
) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, None where there is none at all.

    `names`: those there are, the newest first; `problem`: what is wrong with one. Damaged ones are
    named in the log and passed over. Raises UserError where all are damaged.
    """
    damaged = []
    for name in [path.name for path in checkpoint_folders(folder)] if names is None else names:
        found = problem(folder / name)
        if found is None:
            return Checkpoint.open(folder / name, verify=False)
        damaged.append(found)
        logger.warning("damaged checkpoint passed over: %s", found)
    if damaged:
        raise UserError(
            f"{folder}: no checkpoint is whole ({'; '.join(damaged)}). "
            "`ptm train --fresh` starts anew and sets this run aside."
        )
    return None
