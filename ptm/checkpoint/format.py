"""The checkpoint format: fragments by canonical parameter name, with checksums.

`checkpoints/global_step<N>/` holds one raw file of fp32 fragments per rank, `run.json` (progress
of the run) and `manifest.json` (the fragments of each file, sizes and checksums). A fragment is a
range of one parameter's weights or of one of its optimizer states, so any layout of ranks can read
a checkpoint of any other. Why not torch.distributed.checkpoint: see `ptm.checkpoint.writing`.
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
from pydantic import BaseModel

from ptm.checkpoint.manifest import WEIGHT, FormatNumber, Heading, Manifest, RunState
from ptm.checkpoint.verification import (
    DamagedCheckpointError,
    check_fragments,
    digest_of,
    verify_file,
)
from ptm.errors import UserError
from ptm.files.reading import (
    MEGABYTE,
    FileContentError,
    open_regular,
    read_bytes,
    read_text,
    reason_of,
)
from ptm.files.records import parse_json

if TYPE_CHECKING:
    from torch import Tensor

M = TypeVar("M", bound=BaseModel)

logger = logging.getLogger(__name__)

FORMAT = 1
MANIFEST, RUN, LATEST, BEST = "manifest.json", "run.json", "latest", "best"

_NAME = re.compile(r"global_step(\d{1,15})")
_MANIFEST_BYTES = 64 * MEGABYTE
_RUN_BYTES = 16 * MEGABYTE
_POINTER_BYTES = 256


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


def is_checkpoint_name(name: str) -> bool:
    """Whether `name` is that of a checkpoint folder."""
    return _NAME.fullmatch(name) is not None


def step_of(folder: Path) -> int:
    """Return the step in a checkpoint folder's name."""
    return int(folder.name.removeprefix("global_step"))


def read_pointer(folder: Path, name: str) -> str | None:
    """Return the checkpoint that the file LATEST or BEST in `folder` names; None without the file.

    Raises UserError if the file is damaged.
    """
    try:
        found = read_text(folder / name, limit=_POINTER_BYTES).strip()
    except FileNotFoundError:
        return None
    except (OSError, FileContentError) as error:
        raise UserError(f"{folder / name}: the file is damaged: {reason_of(error)}.") from error
    if not _NAME.fullmatch(found):
        raise UserError(f"{folder / name}: the file is damaged: it names no checkpoint.")
    return found


class Checkpoint:
    """A checkpoint on disk, opened for reading by `Checkpoint.open`.

    Its state files stay open from their first use on, or from `hold` on: a checkpoint that is
    removed meanwhile can then still be read.
    """

    def __init__(self, folder: Path, manifest: Manifest, run: RunState) -> None:
        self.folder = folder
        self.run: dict[str, Any] = run.model_dump()
        self._manifest = manifest
        self._files: dict[str, BinaryIO] = {}

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> Checkpoint:
        """Read and check `manifest.json` and `run.json`; with `verify`, all state files as well.

        Raises DamagedCheckpointError for a missing or damaged file, UserError for a checkpoint of
        a later format version.
        """
        first, _, text = _content(folder / MANIFEST, _MANIFEST_BYTES).partition(b"\n")
        if _parsed(folder / MANIFEST, first, Heading).blake2b != digest_of(text):
            raise DamagedCheckpointError(
                f"{folder / MANIFEST}: the file differs from its own checksum"
            )
        number = _parsed(folder / MANIFEST, text, FormatNumber).format
        if number > FORMAT:
            raise UserError(
                f"{folder}: the checkpoint was written by a later version of ptm (its format: "
                f"{number}; this version reads formats up to {FORMAT}). Install that "
                "version, or start from scratch with --fresh."
            )
        manifest = _parsed(folder / MANIFEST, text, Manifest)
        problem = check_fragments(manifest)
        if problem is not None:
            raise DamagedCheckpointError(f"{folder / MANIFEST}: {problem}")
        run_text = _content(folder / RUN, _RUN_BYTES)
        if digest_of(run_text) != manifest.run:
            raise DamagedCheckpointError(f"{folder / RUN}: the checksum differs from the manifest")
        checkpoint = cls(folder, manifest, _parsed(folder / RUN, run_text, RunState))
        if verify:
            checkpoint.verify()
        return checkpoint

    def hold(self) -> None:
        """Open all state files. Raises DamagedCheckpointError if one cannot be opened."""
        for name in self.files:
            self._file(name)

    def verify(self, part: int = 0, parts: int = 1) -> None:
        """Check the state files `part`, `part + parts`, ...: all of them by default.

        Raises DamagedCheckpointError.
        """
        for entry in self._manifest.files[part::parts]:
            verify_file(self.folder / entry.file, self._file(entry.file), entry)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all ranks' state files, including files that this host does not have."""
        return tuple(entry.file for entry in self._manifest.files)

    def whole_files(self) -> list[str]:
        """Return the names of the state files that exist here and match their checksums."""
        whole = []
        for entry in self._manifest.files:
            try:
                verify_file(self.folder / entry.file, self._file(entry.file), entry)
            except DamagedCheckpointError:
                continue
            whole.append(entry.file)
        return whole

    @property
    def step(self) -> int:
        """Number of global batches consumed."""
        return int(self.run["step"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by canonical name."""
        return {name: tuple(shape) for name, shape in self._manifest.parameters.items()}

    @cached_property
    def fragments(self) -> dict[tuple[str, str], list[tuple[Fragment, str]]]:
        """(parameter, kind) -> its fragments by start, each with the name of its file."""
        found: defaultdict[tuple[str, str], list[tuple[Fragment, str]]] = defaultdict(list)
        for entry in self._manifest.files:
            for data in entry.fragments:
                fragment = Fragment(**dict(data))
                found[fragment.name, fragment.kind].append((fragment, entry.file))
        for pieces in found.values():
            pieces.sort(key=lambda piece: piece[0].start)
        return found

    def values(self, name: str, kind: str, start: int, count: int) -> Tensor:
        """Return `count` values of `kind` from `start`, flat, fp32, joined from fragments.

        Raises UserError if the checkpoint does not hold them.
        """
        values = np.empty(count, np.float32)
        filled = 0
        for fragment, file in self.fragments.get((name, kind), ()):
            first = max(start, fragment.start)
            last = min(start + count, fragment.start + fragment.count)
            if first < last:
                at = fragment.at + 4 * (first - fragment.start)
                self._read_into(values[first - start : last - start], file, at)
                filled += last - first
        if filled != count:
            raise UserError(
                f"{self.folder}: the checkpoint holds {filled} instead of {count} values of {name} "
                f"({kind}). Start from scratch with --fresh."
            )
        import torch

        return torch.from_numpy(values)

    def weights(self, name: str) -> Tensor:
        """Return a whole parameter, fp32."""
        shape = self.shapes[name]
        return self.values(name, WEIGHT, 0, int(np.prod(shape, dtype=np.int64))).view(shape)

    def _file(self, name: str) -> BinaryIO:
        """The opened state file `name`."""
        if name not in self._files:
            path = self.folder / name
            try:
                self._files[name] = open_regular(path)
            except (OSError, FileContentError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise DamagedCheckpointError(f"{path}: cannot be read ({reason})") from error
        return self._files[name]

    def _read_into(self, values: np.ndarray[Any, Any], name: str, at: int) -> None:
        """Fill `values` from byte `at` of a state file.

        Read, not memory-mapped: a file that was cut short would end the process with SIGBUS.
        """
        file, buffer = self._file(name), memoryview(values.data).cast("B")
        while buffer:
            count = os.preadv(file.fileno(), [buffer], at)
            if count == 0:
                raise UserError(f"{self.folder / name}: the file was cut short while it was read.")
            buffer, at = buffer[count:], at + count


def _content(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit=limit)
    except (OSError, FileContentError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DamagedCheckpointError(
            f"{path.parent}: {path.name} cannot be read ({reason})"
        ) from error


def _parsed(path: Path, content: bytes, model: type[M]) -> M:
    try:
        return parse_json(content, model)
    except FileContentError as error:
        raise DamagedCheckpointError(f"{path}: damaged ({error})") from error


def damage_of(folder: Path, part: int = 0, parts: int = 1) -> str | None:
    """Return why a checkpoint is damaged, or None; checks state files as `Checkpoint.verify`."""
    try:
        Checkpoint.open(folder, verify=False).verify(part, parts)
    except DamagedCheckpointError as error:
        return str(error)
    return None


def open_held(folder: Path) -> Checkpoint:
    """Open a checkpoint with all its state files, then verify it.

    It stays readable if the training that wrote it removes it meanwhile. Raises
    DamagedCheckpointError, and UserError for a later format.
    """
    checkpoint = Checkpoint.open(folder, verify=False)
    checkpoint.hold()
    checkpoint.verify()
    return checkpoint


def newest_checkpoint(
    folder: Path,
    names: Sequence[str] | None = None,
    open_checkpoint: Callable[[Path], Checkpoint] = open_held,
) -> Checkpoint | None:
    """Return the newest undamaged checkpoint in `folder`; None if it has no checkpoints.

    `names`: the checkpoints to try, newest first (default: all in `folder`). `open_checkpoint`
    raises DamagedCheckpointError for a damaged one. Damaged checkpoints are logged and skipped, and
    those that a training removes meanwhile are skipped. Raises UserError if all are damaged.
    """
    damaged = []
    for name in [path.name for path in checkpoint_folders(folder)] if names is None else names:
        try:
            return open_checkpoint(folder / name)
        except DamagedCheckpointError as error:
            if not (folder / name).exists():
                continue
            damaged.append(str(error))
            logger.warning("damaged checkpoint skipped: %s", error)
    if damaged:
        raise UserError(
            f"{folder}: all checkpoints are damaged ({'; '.join(damaged)}). `ptm train RECIPE "
            "--fresh` renames this run and starts from scratch."
        )
    return None
