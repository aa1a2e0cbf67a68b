"""Folders of sentence-transformers: a model of transformers, its pooling and its normalisation.

`modules.json` names the modules in order; each has a folder, or shares that of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.components.objectives.embedded_texts import EmbeddedTexts
from ptm.errors import UserError
from ptm.files.user_files import read_json
from ptm.interop.hf.io.tokenizer import write_json
from ptm.limits import MOST_POSITIONS
from ptm.nn.model_shape import Pooling

MODULES = "modules.json"
_LENGTH = "sentence_bert_config.json"
_SETTINGS = "config_sentence_transformers.json"
_POOLING, _NORMALIZE = "1_Pooling", "2_Normalize"
_MODES: Mapping[Pooling, str] = {"first": "cls", "mean": "mean", "max": "max", "last": "lasttoken"}
"""Our pooling -> that of sentence-transformers."""
_KEYS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Pooling -> the key that chooses it in the files of most versions; newer ones have one key."""
NOTE = (
    "The folder is a model of sentence-transformers. The cosine of two embeddings says how similar "
    "the texts are."
)


def write_sentence_transformers(
    folder: Path, objective: EmbeddedTexts, *, width: int, longest: int | None
) -> None:
    """Write the files of sentence-transformers beside those of the exported model.

    `width`: that of the embeddings. `longest`: tokens of the longest text.
    """
    names = [("", "Transformer"), (_POOLING, "Pooling")]
    names += [(_NORMALIZE, "Normalize")] if objective.normalize else []
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": f"sentence_transformers.models.{name}",
        }
        for index, (path, name) in enumerate(names)
    ]
    write_json(folder / MODULES, modules)
    write_json(folder / _LENGTH, {"max_seq_length": longest, "do_lower_case": False})
    settings: dict[str, Any] = {
        "prompts": {},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    write_json(folder / _SETTINGS, settings)
    mode = _MODES[objective.pooling]
    (folder / _POOLING).mkdir()
    write_json(
        folder / _POOLING / "config.json",
        {
            "word_embedding_dimension": width,
            **{key: name == mode for name, key in _KEYS.items()},
            "include_prompt": True,
        },
    )
    if objective.normalize:
        (folder / _NORMALIZE).mkdir()
        # The module has no options, and a folder is kept by git and the Hub only with a file.
        write_json(folder / _NORMALIZE / "config.json", {})


class SentenceTransformersFolder:
    """The modules of a folder that `SentenceTransformer` loads."""

    def __init__(self, folder: Path) -> None:
        """Raises UserError if it has other modules than a model, one pooling and a norm."""
        self._folder = folder
        self._paths: dict[str, Path] = {}
        path = folder / MODULES
        try:
            for module in read_json(path):
                self._paths[str(module["type"]).rpartition(".")[2]] = folder / module["path"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: the file is damaged ({error}).") from error
        names = list(self._paths)
        if names not in (
            ["Transformer", "Pooling"],
            ["Transformer", "Pooling", "Normalize"],
        ):
            raise UserError(
                f"{path}: the modules are {', '.join(names)}, but supported are Transformer, "
                "Pooling and Normalize, in this order. Without the file, the folder is imported as "
                "a model of transformers."
            )

    @staticmethod
    def find(folder: Path) -> SentenceTransformersFolder | None:
        """Return the modules of `folder`; None if it is not one of sentence-transformers."""
        return SentenceTransformersFolder(folder) if (folder / MODULES).is_file() else None

    @property
    def transformer(self) -> Path:
        """The folder of the model of transformers."""
        return self._paths["Transformer"]

    def objective(
        self, trained: Mapping[str, Any] | None, *, lowercases: bool = True
    ) -> dict[str, Any]:
        """Return the block `objective` of a model with these modules.

        `trained`: the block of the recipe that an export of `ptm` has. `lowercases`: whether the
        tokenizer does. Raises UserError for a pooling or setting that is not supported.
        """
        embeds = trained is not None and trained.get("type") == "embedding"
        found: dict[str, Any] = dict(trained or {}) if embeds else {"type": "embedding"}
        found["pooling"] = self._pooling()
        found["normalize"] = "Normalize" in self._paths
        length = self._settings(self.transformer / _LENGTH)
        if length.get("do_lower_case") and not lowercases:
            raise UserError(
                f"{self.transformer / _LENGTH}: do_lower_case is true, but the tokenizer keeps "
                "capitals, so the embeddings would differ. It is not supported."
            )
        # Newer versions save it as the tokenizer's limit, which is huge if there is no limit.
        tokenizer = self._settings(self.transformer / "tokenizer_config.json")
        longest = length.get("max_seq_length") or tokenizer.get("model_max_length")
        if isinstance(longest, int) and longest <= MOST_POSITIONS:
            found["max_length"] = longest
        settings = self._settings(self._folder / _SETTINGS)
        prompt = settings.get("default_prompt_name")
        if prompt is not None and (settings.get("prompts") or {}).get(prompt):
            raise UserError(
                f'{self._folder / _SETTINGS}: the default prompt "{prompt}" is added to every '
                "text, which is not supported. Set default_prompt_name to null, and write the "
                "prompt before the texts."
            )
        return found

    def _settings(self, path: Path) -> dict[str, Any]:
        found = read_json(path) if path.is_file() else {}
        return found if isinstance(found, dict) else {}

    def _pooling(self) -> Pooling:
        path = self._paths["Pooling"] / "config.json"
        config = read_json(path)
        chosen = config.get("pooling_mode")
        modes = [chosen] if isinstance(chosen, str) else list(chosen or ())
        if chosen is None:
            modes = [name for name, key in _KEYS.items() if config.get(key)]
        known = {theirs: ours for ours, theirs in _MODES.items()}
        if len(modes) != 1 or modes[0] not in known:
            raise UserError(
                f"{path}: the pooling {' and '.join(map(str, modes)) or 'is missing'} is not "
                f"supported. Supported is one of {', '.join(known)}."
            )
        return known[modes[0]]
