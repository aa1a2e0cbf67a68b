"""The tables of tests/README.md name tests that exist and run by default."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", (TESTS / "README.md").read_text("utf-8"))))


def default_tests(path: Path) -> set[str]:
    """The names of the tests in a file that are not marked slow as a whole."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [ast.unparse(decorator) for decorator in node.decorator_list]
            if "pytest.mark.slow" not in marks:
                found.add(node.name)
    return found


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_claim_names_a_default_test(file: str, name: str) -> None:
    assert name in default_tests(TESTS / file)


def test_there_are_claims() -> None:
    assert len(NAMED) > 50
