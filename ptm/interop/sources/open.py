"""Open a saved model: a run, an export, an import, a Hugging Face folder or a Hub model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptm.errors import UserError
from ptm.interop.hub import hub_folder, looks_like_hub_id
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.mistaken import no_such_folder, similar_run
from ptm.interop.sources.run import AveragedSource, RunSource
from ptm.recipe.saved_files import RECIPE, WEIGHTS, read_recipe_data, with_own_tokenizers

if TYPE_CHECKING:
    from torch import Tensor

    from ptm.interop.hf.io.folder import HuggingFaceFolder
    from ptm.interop.hf.io.sentence_transformers import SentenceTransformersFolder


def open_source(
    path: str, *, step: int | str | None = None, average: int | None = None, download: bool = True
) -> ModelSource:
    """Return the model at `path`, a folder or a Hub model id.

    For runs, `step` selects a checkpoint (a step or "best"; the newest by default) and `average`
    the number of last checkpoints to average. With `download=False` a Hub model is only searched
    in the Hub's cache. Raises UserError if no model is found.
    """
    folder = Path(path)
    if not folder.is_dir() and looks_like_hub_id(path):
        folder = _from_hub(path, download=download)
    if not folder.is_dir():
        raise UserError(no_such_folder(path))
    if (folder / "checkpoints").is_dir():
        if average is not None:
            return AveragedSource(folder, step=step, count=average)
        return RunSource(folder, step=step)
    if average is not None:
        raise UserError(
            f"{folder}: --average is for runs, but this folder is not a run. Remove --average."
        )
    if step is not None:
        raise UserError(
            f"{folder}: --step is for runs, but this folder is not a run. Remove --step."
        )
    if (folder / WEIGHTS).exists() and (folder / RECIPE).exists():
        return ImportedSource(folder)
    if (folder / "config.json").exists() or (folder / "modules.json").exists():
        # Imported lazily: it loads torch and all model families.
        from ptm.interop.hf.io.folder import HuggingFaceFolder
        from ptm.interop.hf.io.sentence_transformers import SentenceTransformersFolder

        modules = SentenceTransformersFolder.find(folder)
        where = folder if modules is None else modules.transformer
        return HuggingFaceSource(HuggingFaceFolder(where), modules)
    raise UserError(
        f"{folder}: the folder is not a model: it contains no checkpoints/ (a run), no "
        f"config.json (an export) and no {WEIGHTS} (an import)."
    )


def _from_hub(name: str, *, download: bool) -> Path:
    """The folder in the Hub's cache. A misspelt run is an error at once, without the network."""
    run = similar_run(name) if download else None
    if run is None:
        return hub_folder(name, download=download)
    try:
        return hub_folder(name, download=False)
    except UserError as error:
        raise UserError(
            f'{name}: no such run. Did you mean "{run}"? If {name} is a model on the Hub, run '
            f"`hf download {name}` first."
        ) from error


class ImportedSource(ModelSource):
    """An output folder of `ptm import`: canonical weights, recipe blocks, tokenizer files."""

    def recipe_data(self) -> dict[str, Any]:
        return with_own_tokenizers(read_recipe_data(self.folder / RECIPE), self.folder)

    def tensors(self) -> dict[str, Tensor]:
        from ptm.interop.weights_file import read_weights

        return read_weights(self.folder / WEIGHTS)

    def description(self) -> str:
        return "imported"


class HuggingFaceSource(ModelSource):
    """An export of `ptm`, or any Hugging Face folder of a supported family."""

    def __init__(
        self, folder: HuggingFaceFolder, modules: SentenceTransformersFolder | None = None
    ) -> None:
        """`modules`: those of sentence-transformers, if the folder has them."""
        super().__init__(folder.folder)
        self._hub = folder
        self._modules = modules

    def recipe_data(self) -> dict[str, Any]:
        """Return the exported recipe.yaml if present, else the blocks converted from config.json.

        Raises UserError if both files are present and disagree.
        """
        written = self.folder / RECIPE
        found = self._hub.recipe_data()
        if not written.exists():
            return self._with_modules(found)
        whole: dict[str, Any] = {**found, **read_recipe_data(written)}
        disagreement = self._hub.disagreement(whole)
        if disagreement is not None:
            raise UserError(
                f"{self.folder}: recipe.yaml and config.json disagree on {disagreement}. Restore "
                "the exported files, or remove recipe.yaml."
            )
        return self._with_modules(
            {
                **whole,
                "tokenizer": found["tokenizer"],
                "model": _with_position_tables_of(whole["model"], found["model"]),
            }
        )

    def _with_modules(self, data: dict[str, Any]) -> dict[str, Any]:
        """`data` with the objective that belongs to the modules of sentence-transformers."""
        if self._modules is None:
            return data
        lowercases = bool(data["tokenizer"].get("lowercase", True))
        objective = self._modules.objective(data["objective"], lowercases=lowercases)
        return {**data, "objective": objective}

    def tensors(self) -> dict[str, Tensor]:
        return self._hub.canonical()

    def description(self) -> str:
        return f"Hugging Face {self._hub.family.name} model"


def _with_position_tables_of(written: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe's `model` block with the position tables that the exported weights have.

    An exported table may start at another row than the trained one: BART's starts at row 2.
    """
    from_recipe = found["embedding"]
    tables = {
        key: from_recipe[key] for key in ("positions", "position_offset") if key in from_recipe
    }
    changed = {
        key: {**written[key], **tables}
        for key in ("embedding", "target_embedding")
        if written.get(key) is not None
    }
    return {**written, **changed}
