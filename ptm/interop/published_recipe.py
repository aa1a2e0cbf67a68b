"""The recipe in an exported folder, which its user may publish: without paths of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.interop.hub import looks_like_hub_id
from ptm.recipe import ModelRecipe
from ptm.recipe.file import yaml_of_blocks
from ptm.recipe.origin import leaves
from ptm.text.corpus.remote import is_remote

_ABOUT_THE_MACHINE = ("runs_dir", "checkpoint", "tracking")
"""Blocks that say where a run is kept and reported, and not how the model was trained."""
_TRACKERS = frozenset({"wandb", "mlflow", "swanlab"})
_OF_DATA = frozenset({"data.corpus", "data.store", "data.evaluation", "data.segmenter.dictionary"})
_OF_MODELS = frozenset({"init_from", "init_from.source", "objective.teacher", "objective.teachers"})
_OTHERS = frozenset({"runs_dir", "engine.deepspeed"})
_IN_BLOCKS = ("corpus", "files", "store")
"""The keys of paths in the named sources of `data.corpus` and the sets of `data.evaluation`."""
_TOKENIZERS = ("tokenizer", "target_tokenizer")


def differences_yaml(recipe: ModelRecipe) -> str:
    """The fields that differ from their defaults, for a model card; of each path the last part."""
    data = recipe.model_dump(mode="json", exclude_defaults=True)
    kept = {key: value for key, value in data.items() if key not in _ABOUT_THE_MACHINE}
    keys = _of_data(recipe) | _not_of_data(recipe)
    return yaml_of_blocks(_shortened(kept, keys))


def exported_yaml(recipe: ModelRecipe) -> str:
    """The whole recipe, for the recipe.yaml of an export.

    Paths of data stay, because `ptm evaluate` reads them; of other paths, the last part stays.
    Trackers are switched off: their projects, teams and servers stay private.
    """
    data = _shortened(recipe.model_dump(mode="json"), _not_of_data(recipe))
    tracking = data.get("tracking", {})
    tracking.update(dict.fromkeys(_TRACKERS & tracking.keys()))
    return yaml_of_blocks(data, with_format=True)


def machine_paths(recipe: ModelRecipe) -> list[str]:
    """The dotted keys of `exported_yaml` whose values are absolute paths of this machine."""
    data = _shortened(recipe.model_dump(mode="json"), _not_of_data(recipe))
    found = []
    for key, value in leaves(data, ""):
        is_path = any(key == one or key.startswith(f"{one}.") for one in _of_data(recipe))
        values = value if isinstance(value, list) else [value]
        if is_path and any(isinstance(one, str) and Path(one).is_absolute() for one in values):
            found.append(key)
    return found


def path_note(recipe: ModelRecipe) -> tuple[str, ...]:
    """A sentence about absolute paths in the recipe.yaml of an export; empty without one."""
    keys = machine_paths(recipe)
    if not keys:
        return ()
    return (
        f"recipe.yaml has absolute paths of this machine ({', '.join(keys)}), which `ptm evaluate` "
        "reads. Change them before you publish the folder.",
    )


def _of_data(recipe: ModelRecipe) -> frozenset[str]:
    """The dotted keys of the paths that `ptm evaluate` reads."""
    return _OF_DATA | {f"objective.{field}" for field in recipe.objective.input_files}


def _not_of_data(recipe: ModelRecipe) -> frozenset[str]:
    return _OF_MODELS | _OTHERS | _tokenizer_files(recipe)


def _tokenizer_files(recipe: ModelRecipe) -> frozenset[str]:
    """The dotted keys of the tokenizers' files."""
    found = set()
    for block in _TOKENIZERS:
        tokenizer = getattr(recipe, block)
        found |= {f"{block}.{field}" for field in (tokenizer.input_files if tokenizer else ())}
    return frozenset(found)


def _shortened(data: Mapping[str, Any], keys: frozenset[str], at: str = "") -> dict[str, Any]:
    """`data` with the last part of each path at the dotted `keys`."""
    found = {}
    for name, value in data.items():
        key = f"{at}{name}"
        if isinstance(value, dict):
            named = key in keys and key in _OF_DATA
            found[name] = _blocks(value) if named else _shortened(value, keys, f"{key}.")
        elif key in keys:
            found[name] = _last_parts(value, is_model=key in _OF_MODELS)
        else:
            found[name] = value
    return found


def _blocks(blocks: Mapping[str, Any]) -> dict[str, Any]:
    """Named sources or sets with the last part of each of their paths."""
    return {
        name: {
            key: _last_parts(value) if key in _IN_BLOCKS else value for key, value in block.items()
        }
        for name, block in blocks.items()
    }


def _last_parts(value: Any, *, is_model: bool = False) -> Any:
    if isinstance(value, list):
        return [_last_parts(one, is_model=is_model) for one in value]
    return last_part(value, is_model=is_model) if isinstance(value, str) else value


def last_part(path: str, *, is_model: bool = False) -> str:
    """The name of a file or folder; URLs, and with `is_model` ids of the Hub, stay whole."""
    if is_remote(path) or (is_model and looks_like_hub_id(path)):
        return path
    return Path(path).name or path
