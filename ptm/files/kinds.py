"""The folders that ptm may remove, and the names of all files that it writes into each.

A folder that holds any other name is never removed. Names that earlier versions wrote stay in the
tables, so that their folders remain removable.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MARKER = ".ptm-folder"
"""The file that marks a folder as written by ptm: its kind and an id."""

TOKEN = "[0-9a-f]{8}"
"""The unguessable part of the names of temporary files and folders."""

_NOTHING = "(?!)"


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder: patterns of the relative paths of its files and subfolders."""

    name: str
    files: re.Pattern[str]
    folders: re.Pattern[str]
    links: re.Pattern[str]
    """Symbolic links that are part of the folder; they are removed, not what they point to."""


def _kind(name: str, files: str, folders: str = _NOTHING, links: str = _NOTHING) -> FolderKind:
    return FolderKind(name, re.compile(files), re.compile(folders), re.compile(links))


_INDEX_KEY = r"[0-9a-f]{16}-[^/]+"
_INDEX_FILES = rf"\w+\.npy|index\.json|\.ptm-folder(\.{TOKEN}\.partial)?"

INDEX = _kind("index", rf"({_INDEX_FILES})|arrays/({_INDEX_FILES})", "arrays")
"""The arrays of one row index. `arrays/` was used by earlier versions while they removed it."""

STORE = _kind(
    "store",
    # All but the .bin files of shards are left by a kill at the end of `ptm preprocess`.
    r"store\.json|shard-\d{5,}-\d{6,}\.(bin|json|tmp)|work\.json|lock"
    rf"|index/({_INDEX_KEY}\.(number|lock)|tmp\w{{8}}|{_INDEX_KEY}\.number\.{TOKEN}\.partial)"
    rf"|index/({_INDEX_KEY}|(making|leaving)[-.]\w+)/({_INDEX_FILES}|arrays/({_INDEX_FILES}))",
    rf"index|index/({_INDEX_KEY}|(making|leaving)[-.]\w+)(/arrays)?",
)

UNFINISHED_STORE = _kind(
    "unfinished store",
    r"store\.json|shard-\d{5,}-\d{6,}\.(bin|json|tmp)|work\.json|lock",
)

CHECKPOINT = _kind(
    "checkpoint",
    rf"manifest\.json|run\.json|rank\d{{5,}}\.bin(\.partial|\.{TOKEN}\.partial)?",
)

OFFLOAD = _kind(
    "offload",
    r"zero_stage_\d/\w+/rank\d+/[\w.]+\.swp|aio_\w+\.json",
    r"zero_stage_\d(/\w+(/rank\d+)?)?",
)
"""What DeepSpeed writes during offload to NVMe."""

WANDB_RUN = _kind(
    "W&B run",
    r"run-\w+\.wandb(\.synced|\.syncstate)?|logs/debug(-internal|-core)?\.log"
    r"|files/(config\.yaml|output\.log|requirements\.txt|wandb-(summary|metadata)\.json)"
    r"|files/media/table/\S+\.table\.json",
    r"files(/media(/table(/\S+)?)?)?|logs|tmp|tmp/code",
    r"logs/debug-core\.log",
)
"""The folder of one offline run, as W&B writes it."""

SWANLAB_RUN = _kind(
    "SwanLab run",
    r"run-\w+\.swanlab|debug/[\w.-]+\.log|console/[\d-]+\.log|logs/\d+/(_summary\.json|\d+\.log)"
    r"|files/(config\.yaml|requirements\.txt|swanlab-metadata\.json)",
    r"files|debug|console|media|logs|logs/\d+",
)
"""The folder of one offline run, as SwanLab writes it."""

NEW_FOLDER = _kind("new folder", r"[^/]+(/[^/]+)*", r"[^/]+(/[^/]+)*")
"""An export, an import or a vocabulary while it is written. It has an unguessable name, and only
the process that created it removes it, so that every file in it is known to be its own."""

LAUNCH_FOLDER = _kind("launch", "deepspeed_env")
"""The temporary folder of `ptm launch`."""

RUN_FOLDER = _kind("run", _NOTHING)
"""A run folder is never removed, only renamed: its marker shows that ptm made it."""

RANK_FILES = re.compile(
    rf"rank\d{{5,}}\.(json|stacks|calls|partial|json\.{TOKEN}\.partial)|nccl_trace_rank_\d+"
    rf"|system-[\w.-]+\.json(\.{TOKEN}\.partial)?"
)
"""Files of `ranks/` in a run folder."""

RUN_LEFTOVERS = re.compile(
    r"(metrics|events)\.partial"
    rf"|(metrics\.jsonl|events\.jsonl|(wandb|mlflow|swanlab)_run\.json|\.ptm-folder)\.{TOKEN}\.partial"
)
"""Files of a run folder that a killed start leaves."""

EVALUATION_LEFTOVERS = re.compile(rf".+\.json\.{TOKEN}\.partial")
"""Files of `evaluations/` in a run folder that a killed evaluation leaves."""

CHECKPOINT_LEFTOVERS = re.compile(rf"(latest|best)(\.{TOKEN})?\.partial")
"""Files beside the checkpoints that a killed save leaves."""
