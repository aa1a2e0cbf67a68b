"""Readers of the files that runs, exports and imports have in common."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field

from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_bytes, read_text, reason_of
from ptm.files.records import parse_json, read_json, read_json_lines
from ptm.recipe.former_keys import convert, take_format
from ptm.recipe.origin import RecipeOrigin
from ptm.text.tokenizers.files import block_with_copies

TOKENIZER, TARGET_TOKENIZER = "tokenizer", "target_tokenizer"
"""The folders of a run (or an import) that hold copies of its tokenizers' files."""
WEIGHTS, RECIPE, EVENTS = "weights.safetensors", "recipe.yaml", "events.jsonl"
METRICS = "metrics.jsonl"
SAMPLES = "samples.jsonl"
"""The sample predictions of a run."""
EVALUATIONS = "evaluations"
"""The folder of a run with a file per evaluation set."""
_RECIPE_BYTES = MEGABYTE
_LINES_BYTES = 128 * MEGABYTE

M = TypeVar("M", bound=BaseModel)

logger = logging.getLogger(__name__)


class MetricsRecord(BaseModel):
    """A line of metrics.jsonl. Further keys are metrics, which depend on the objective."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, float | None]

    step: int = Field(ge=0)
    split: str = Field(min_length=1, max_length=200)
    loss: float | None
    epoch: int = Field(0, ge=0)
    rows: int = Field(0, ge=0)
    examples: int = Field(0, ge=0)
    tokens: int = Field(0, ge=0)


class _Event(BaseModel):
    """A line of events.jsonl, as far as it is read back."""

    model_config = ConfigDict(strict=True)

    step: int


class SavedOrigin(BaseModel):
    """`RecipeOrigin` in environment.json."""

    model_config = ConfigDict(extra="forbid", strict=True)

    file: str
    text: str
    overrides: list[str]

    @property
    def origin(self) -> RecipeOrigin:
        """The origin as the recipe had it."""
        return RecipeOrigin(self.file, self.text, tuple(self.overrides))


class Environment(BaseModel):
    """environment.json: where a run was trained."""

    model_config = ConfigDict(extra="forbid", strict=True)

    time: str
    hosts: dict[str, int]
    processors: int | None
    python: str
    versions: dict[str, str]
    git_commit: str | None
    data_fingerprint: str
    recipe: SavedOrigin | None = None
    """The recipe file of the last start and its overrides; earlier versions did not write it."""


def read_metrics(run: Path, *, damage: list[str] | None = None) -> list[dict[str, Any]]:
    """The records of a run's metrics.jsonl; a last line that a kill left incomplete is skipped.

    `damage`: as in `read_lines_of_run`.
    """
    lines = read_lines_of_run(run / METRICS, MetricsRecord, damage=damage)
    return [line.model_dump(exclude_unset=True) for line in lines]


def read_lines_of_run(path: Path, model: type[M], *, damage: list[str] | None = None) -> list[M]:
    """The lines of a file of a run, such as metrics.jsonl; empty without the file.

    A last line that a kill left incomplete is skipped. With `damage`, other lines that are damaged
    are left out, and a sentence about each is appended to it. Without, they raise UserError.
    """
    found = []
    try:
        for number, line in read_json_lines(path, model, limit=_LINES_BYTES):
            if not isinstance(line, FileContentError):
                found.append(line)
            elif damage is None:
                raise UserError(f"{path}:{number}: the line is damaged ({line}). Remove it.")
            else:
                damage.append(f"{path}:{number}: the line is damaged ({line}).")
    except FileNotFoundError:
        return []
    except (OSError, FileContentError) as error:
        report_damage(path, error, damage)
    return found


def report_damage(path: Path, error: OSError | FileContentError, damage: list[str] | None) -> None:
    """Append a sentence about a damaged file to `damage`, or raise UserError if it is None."""
    sentence = f"{path}: the file is damaged: {reason_of(error)}."
    if damage is None:
        raise UserError(sentence) from error
    damage.append(sentence)


def lines_up_to(path: Path, step: int) -> list[str]:
    """The lines of metrics.jsonl, events.jsonl or samples.jsonl up to `step`; damaged ones are left
    out and logged.

    Raises UserError if the file cannot be read.
    """
    kept, damaged = [], []
    try:
        text = read_bytes(path, limit=_LINES_BYTES).decode("utf-8", errors="replace")
        *lines, _unfinished = text.split("\n")
        for number, line in enumerate(lines, start=1):
            try:
                if parse_json(line, _Event).step <= step:
                    kept.append(line)
            except FileContentError:
                damaged.append(str(number))
    except (OSError, FileContentError) as error:
        raise UserError(f"{path}: the file is damaged: {reason_of(error)}.") from error
    if damaged:
        logger.warning("%s: damaged lines are left out: %s", path, ", ".join(damaged[:10]))
    return kept


def read_environment(run: Path, *, damage: list[str] | None = None) -> Environment | None:
    """The environment.json of a run, or None without one.

    If it is damaged, a sentence is appended to `damage`. Raises UserError without `damage`.
    """
    path = run / "environment.json"
    try:
        return read_json(path, Environment, limit=MEGABYTE)
    except FileNotFoundError:
        return None
    except (OSError, FileContentError) as error:
        report_damage(path, error, damage)
        return None


def read_recipe_data(path: Path) -> dict[str, Any]:
    """The data of a recipe.yaml that ptm wrote, converted to today's format.

    Raises UserError if the file is missing or damaged.
    """
    try:
        data = yaml.safe_load(read_text(path, limit=_RECIPE_BYTES))
    except (OSError, FileContentError) as error:
        raise UserError(f"{path}: the file is damaged: {reason_of(error)}.") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: the file is damaged ({_one_line(error)}).") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise UserError(f"{path}: the file is damaged: it is not a recipe.")
    return convert(data, format_number=take_format(data, name=str(path)) or 1)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def with_own_tokenizers(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The recipe's data with the tokenizers' paths replaced by those of their copies in
    `folder`."""
    copies = {
        key: block_with_copies(data[key], folder / key)
        for key in (TOKENIZER, TARGET_TOKENIZER)
        if isinstance(data.get(key), dict)
    }
    return {**data, **copies}
