"""Where a model comes from: a run, an export, or what `ptm import` wrote. All give the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.interop.hub import hub_folder, looks_like_hub_id
from ptm.interop.sources.base import Source
from ptm.interop.sources.run import AveragedSource, RunSource
from ptm.recipe.saved_files import RECIPE, WEIGHTS, read_recipe_data, with_own_tokenizers

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.interop.hf.io.folder import HuggingFaceFolder


def open_source(
    path: str, *, step: int | str | None = None, average: int | None = None, download: bool = True
) -> Source:
    """The model at `path`, or of that id on the hub; of a run, at one step or averaged.

    Without `download`, the hub's cache alone is looked at.

    Raises UserError where there is none.
    """
    folder = Path(path)
    if not folder.is_dir() and looks_like_hub_id(path):
        folder = hub_folder(path, download=download)
    if not folder.is_dir():
        raise UserError(
            f'"{path}" is not a folder. A model is a run (runs/NAME), an export, what '
            "`ptm import` wrote, or the id of a model on the hub."
        )
    if (folder / "checkpoints").is_dir():
        if average is not None:
            return AveragedSource(folder, step=step, count=average)
        return RunSource(folder, step=step)
    if average is not None:
        raise UserError(f"{folder}: --average is for runs; this is none.")
    if step is not None:
        raise UserError(f"{folder}: --step is for runs; this is none.")
    if (folder / WEIGHTS).exists() and (folder / RECIPE).exists():
        return ImportedSource(folder)
    if (folder / "config.json").exists():
        # Loads torch, and transformers' families.
        from ptm.interop.hf.io.folder import HuggingFaceFolder

        return HuggingFaceSource(HuggingFaceFolder(folder))
    raise UserError(
        f"{folder}: holds no model: neither checkpoints/ (a run), nor config.json (an export), "
        f"nor {WEIGHTS} (an import)."
    )


class ImportedSource(Source):
    """What `ptm import` wrote: canonical weights, a recipe's blocks, the tokenizer's files."""

    def recipe_data(self) -> dict[str, Any]:
        """As it was written, with the paths of its own files."""
        return with_own_tokenizers(read_recipe_data(self.folder / RECIPE), self.folder)

    def tensors(self) -> dict[str, Tensor]:
        """All of them."""
        from ptm.interop.hf.io.folder import read_weights

        return read_weights(self.folder / WEIGHTS)

    def description(self) -> str:
        """Where it came from is in its recipe."""
        return "imported"


class HuggingFaceSource(Source):
    """An export of ours, or any folder of a known family."""

    def __init__(self, folder: HuggingFaceFolder) -> None:
        super().__init__(folder.folder)
        self._hub = folder

    def recipe_data(self) -> dict[str, Any]:
        """The exported recipe where there is one, else what the config says."""
        written = self.folder / RECIPE
        found = self._hub.recipe_data()
        if not written.exists():
            return found
        whole: dict[str, Any] = {**found, **read_recipe_data(written)}
        for stack in ("encoder", "decoder"):
            here, there = found["model"].get(stack, {}), whole["model"].get(stack) or {}
            for key, value in here.items():
                if there.get(key) != value:
                    raise UserError(
                        f"{self.folder}: config.json and recipe.yaml disagree: {stack}.{key} is "
                        f"{value} in the one and {there.get(key)} in the other."
                    )
        return {
            **whole,
            "tokenizer": found["tokenizer"],
            "model": _with_tables_as(whole["model"], found["model"]),
        }

    def tensors(self) -> dict[str, Tensor]:
        """Under canonical names."""
        return self._hub.canonical()

    def description(self) -> str:
        """The family."""
        return f"a {self._hub.family.name} of transformers"


def _with_tables_as(written: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The recipe's `model` with the tables of positions that the weights have.

    An export may begin a table in another row than the model did: transformers' BART does.
    """
    there = found["embedding"]
    tables = {key: there[key] for key in ("positions", "position_offset") if key in there}
    changed = {
        key: {**written[key], **tables}
        for key in ("embedding", "target_embedding")
        if written.get(key) is not None
    }
    return {**written, **changed}
