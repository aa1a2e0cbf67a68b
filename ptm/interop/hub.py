"""Models by their name on Hugging Face's hub: into the hub's own cache, only the files needed."""

from __future__ import annotations

import re
from pathlib import Path

from ptm.errors import UserError

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_SMALL = (
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
"""What is preferred comes first; the other is fetched where it is not there."""


def looks_like_hub_id(name: str) -> bool:
    """Whether `name` may be a model's on the hub: NAME or OWNER/NAME, and no path from here.

    A name in a folder that exists (`runs/misspelt`) is a path.
    """
    path = Path(name)
    inside = len(path.parts) > 1 and Path(path.parts[0]).exists()
    return bool(_ID.fullmatch(name)) and not path.exists() and not inside


def hub_folder(name: str) -> Path:
    """The folder in the hub's cache with a model's config, tokenizer and weights.

    Honours HF_HUB_OFFLINE, HF_HOME and HF_ENDPOINT as everything else of theirs does. Raises
    UserError where `name` is no id, there is no such model, or there is no network and no copy.
    """
    if not looks_like_hub_id(name):
        raise UserError(
            f'"{name}" is neither a folder with config.json, a tokenizer and weights, nor the id '
            "of a model on a hub (NAME or OWNER/NAME)."
        )
    for weights in _WEIGHTS:
        folder = _snapshot(name, (*_SMALL, *weights))
        if any(list(folder.glob(pattern)) for pattern in weights):
            return folder
    raise UserError(
        f'"{name}": the copy in {folder} has neither model.safetensors nor pytorch_model.bin; '
        f"{_by_hand(name)}"
    )


def _snapshot(name: str, patterns: tuple[str, ...]) -> Path:
    # Loaded only here: it brings an HTTP client with it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise UserError(
            f'"{name}" is there for those alone who have accepted its terms: log in with '
            f"`hf auth login`; or {_by_hand(name)}"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UserError(f'"{name}" is neither a folder here nor a model on the hub.') from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f'"{name}" is no folder here, and the hub cannot be reached to look it up (no network, '
            f"or HF_HUB_OFFLINE is set), nor has its cache a copy: {_by_hand(name)}"
        ) from error


def _by_hand(name: str) -> str:
    return (
        f"download config.json, the tokenizer's files and model.safetensors (or pytorch_model.bin) "
        f"of https://huggingface.co/{name} into a folder and name that."
    )
