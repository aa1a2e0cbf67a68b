"""Fixtures with texts to tokenise."""

from __future__ import annotations

import pytest

from tests.conftest import Bundled


@pytest.fixture(scope="session")
def bundled_lines(bundled: Bundled) -> list[str]:
    """Lines of the bundled corpus, English and Chinese."""
    return [
        line
        for path in bundled.corpus
        for line in path.read_text(encoding="utf-8").splitlines()[:60]
    ]
