"""A model's configuration as JSON: transformers' config.json, or one of UER-py's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ptm.errors import UserError


def read_config(path: Path) -> dict[str, Any]:
    """The configuration. Raises UserError where it cannot be read, or is no JSON object."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(config, dict):
        raise UserError(f"{path}: is not a model's configuration.")
    return config
