"""Models on the Hugging Face Hub: download the files needed into the Hub's own cache."""

from __future__ import annotations

import re
from pathlib import Path

from ptm.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_CONFIG_AND_TOKENIZER = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
)
"""In order of preference; the second format is fetched only if the first is absent."""


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` can be a Hub model id (NAME or OWNER/NAME) and is not a local path.

    A name below an existing folder (`models/misspelt`) or below `runs` counts as a path.
    """
    path = Path(name)
    inside = len(path.parts) > 1 and (path.parts[0] == "runs" or Path(path.parts[0]).exists())
    return bool(_ID.fullmatch(name)) and not path.exists() and not inside


def hub_folder(name: str, *, download: bool = True) -> Path:
    """Return the folder in the Hub's cache with a model's config, tokenizer and weights.

    With `download=False` only the cache is searched. HF_HUB_OFFLINE, HF_HOME and HF_ENDPOINT are
    honoured. Raises UserError if `name` is not a model id, the Hub has no such model, or the Hub
    cannot be reached and the cache has no copy.
    """
    if not looks_like_hub_id(name):
        raise UserError(
            f'"{name}" is neither a folder with config.json, a tokenizer and weights, nor a '
            "model id on the Hugging Face Hub (NAME or OWNER/NAME)."
        )
    for weights in _WEIGHTS:
        folder = _snapshot(name, (*_CONFIG_AND_TOKENIZER, *weights), download=download)
        if any(list(folder.glob(pattern)) for pattern in weights):
            return folder
    raise UserError(
        f'"{name}": the copy in {folder} has neither model.safetensors nor pytorch_model.bin; '
        f"{_download_hint(name)}"
    )


def _snapshot(name: str, patterns: tuple[str, ...], *, download: bool) -> Path:
    # Imported lazily: huggingface_hub loads an HTTP client.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        found = snapshot_download(
            name, allow_patterns=list(patterns), local_files_only=not download
        )
        return Path(found)
    except GatedRepoError as error:
        raise UserError(
            f'"{name}" is available only to users who have accepted its terms: log in with '
            f"`hf auth login`, or {_download_hint(name)}"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(f'"{name}" is neither a local folder nor a model on the Hub.') from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if not download:
            raise UserError(
                f'"{name}" is neither a local folder nor in the Hub cache. If it is a model on the '
                "Hub, it is downloaded when it is first needed."
            ) from error
        raise UserError(
            f'"{name}" is neither a local folder nor in the Hub cache, and the Hub cannot be '
            f"reached (no network, or HF_HUB_OFFLINE is set): {_download_hint(name)}"
        ) from error


def _download_hint(name: str) -> str:
    return (
        f"download config.json, the tokenizer files and model.safetensors (or pytorch_model.bin) "
        f"from https://huggingface.co/{name} to a folder and pass that folder."
    )
