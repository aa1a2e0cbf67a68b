"""Which cases of a matrix run by default; `make slow` runs the others too."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pytest


def by_default(case: Any, default: Container[Any]) -> Any:
    """A parameter of a test: slow, unless `case` is one of those in `default`.

    A case is one value, or a tuple of the values of several arguments.
    """
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=() if case in default else pytest.mark.slow)
