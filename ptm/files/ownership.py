"""Removing folders and files that ptm wrote. No other module of ptm removes a folder.

A folder is removed only if everything in it has a name that ptm writes into folders of its kind,
and if its marker, which folders of earlier versions lack, names the same kind. Otherwise nothing
is removed, and a `ForeignFileError` names the first foreign file. Symbolic links are foreign:
neither a link nor what it points to is removed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ptm.errors import UserError
from ptm.files.kinds import MARKER, FolderKind
from ptm.files.reading import FileContentError, read_bytes
from ptm.files.records import parse_json
from ptm.files.writing import temporary_name, temporary_target, write_file
from ptm.validation import text_of

_MARKER_BYTES = 4096


class ForeignFileError(UserError):
    """A folder holds something that ptm did not write, and is therefore not removed."""


class Marker(BaseModel):
    """The content of a marker file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal[1] = 1
    kind: str
    id: str = text_of(r"^[0-9a-f]{8,64}$", "have 8 to 64 hexadecimal digits")


def mark_folder(folder: Path, kind: FolderKind, *, identity: str | None = None) -> Marker:
    """Write the marker of a folder of ptm. `identity`: hexadecimal digits (default: random)."""
    marker = Marker(kind=kind.name, id=identity or secrets.token_hex(16))
    write_file(folder / MARKER, marker.model_dump_json() + "\n")
    return marker


def read_marker(folder: Path) -> Marker | None:
    """Return the marker of `folder`; None without one. Raises ForeignFileError if it is damaged.

    An empty marker counts as none: earlier versions left it on a full disk.
    """
    try:
        content = read_bytes(folder / MARKER, limit=_MARKER_BYTES)
        return parse_json(content, Marker) if content else None
    except FileNotFoundError:
        return None
    except (OSError, FileContentError) as error:
        raise ForeignFileError(f"{folder / MARKER}: the file was not written by ptm.") from error


def make_temporary_folder(target: Path, kind: FolderKind) -> Path:
    """Create a marked folder with an unguessable name beside `target`, and its parents."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = temporary_name(target)
    folder.mkdir()
    mark_folder(folder, kind)
    return folder


def check_removable(folder: Path, kind: FolderKind) -> None:
    """Raise ForeignFileError unless `folder` holds only what ptm writes into this kind of folder.

    Nothing is changed. OSError is raised if the folder cannot be read.
    """
    _entries(folder, kind)


def remove_folder(folder: Path, kind: FolderKind) -> None:
    """Remove `folder` and all that is in it, if `check_removable` allows it.

    Raises ForeignFileError, and OSError if something cannot be removed. What appears in the folder
    meanwhile is not removed: the folder then stays, and OSError is raised.
    """
    files, folders = _entries(folder, kind)
    for file in files:
        file.unlink(missing_ok=True)
    for one in reversed(folders):
        one.rmdir()
    folder.rmdir()


def remove_files(folder: Path, names: re.Pattern[str]) -> None:
    """Remove the regular files directly in `folder` whose whole name matches.

    Links, folders and other names stay. Raises OSError if a file cannot be removed.
    """
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if names.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
            path.unlink(missing_ok=True)


def _entries(folder: Path, kind: FolderKind) -> tuple[list[Path], list[Path]]:
    """The files and the subfolders in `folder`, each subfolder before its own subfolders."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        what = "a symbolic link" if folder.is_symlink() else "not a folder"
        raise ForeignFileError(
            f"{folder}: this is {what}, which ptm does not remove. Move it or remove it yourself."
        )
    marker = read_marker(folder)
    if marker is not None and marker.kind != kind.name:
        raise ForeignFileError(
            f"{folder}: this folder is marked as {marker.kind}, not as {kind.name}, and is not "
            "removed."
        )
    files: list[Path] = []
    folders: list[Path] = []
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        for entry in sorted(os.scandir(here), key=lambda entry: entry.name):
            path = Path(entry.path)
            inside = path.relative_to(folder).as_posix()
            is_folder = entry.is_dir(follow_symlinks=False)
            if not _is_known(entry, inside, kind):
                raise _foreign(folder, inside, is_link=entry.is_symlink())
            if is_folder:
                folders.append(path)
                waiting.append(path)
            else:
                files.append(path)
    return files, folders


def _is_known(entry: os.DirEntry[str], inside: str, kind: FolderKind) -> bool:
    """Whether ptm writes an entry of this type and relative path into folders of this kind."""
    if entry.is_symlink():
        return kind.links.fullmatch(inside) is not None
    if entry.is_dir(follow_symlinks=False):
        return kind.folders.fullmatch(inside) is not None
    if not entry.is_file(follow_symlinks=False):
        return False
    if inside == MARKER or temporary_target(Path(inside)) == Path(MARKER):
        return True
    return kind.files.fullmatch(inside) is not None


def _foreign(folder: Path, inside: str, *, is_link: bool) -> ForeignFileError:
    what = "is a symbolic link" if is_link else "was not written by ptm"
    return ForeignFileError(
        f"{folder}: the folder is not removed, because {json.dumps(inside, ensure_ascii=False)} in "
        f"it {what}. Move that to another place, or give another folder."
    )
