"""Mark the cases of a test matrix that only `make slow` runs."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import pytest


def by_default(case: Any, default: Container[Any]) -> Any:
    """A pytest parameter that is marked slow unless `default` contains `case`.

    A case is one value, or a tuple with the values of several arguments.
    """
    values = case if isinstance(case, tuple) else (case,)
    return pytest.param(*values, marks=() if case in default else pytest.mark.slow)
