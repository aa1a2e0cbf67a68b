"""The mutations of tests/mutations.py fit the code, so that `make mutations` can apply them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_replaces_one_place_of_the_code(project: Path, name: str) -> None:
    mutation = MUTATIONS[name]
    text = (project / mutation.path).read_text(encoding="utf-8")
    assert text.count(mutation.before) == 1
    assert mutation.before != mutation.after


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_tests_of_a_mutation_exist(project: Path, name: str) -> None:
    for words in MUTATIONS[name].tests:
        where, _, keyword = words.partition(" -k ")
        path = project / where.partition("::")[0]
        sources = [path] if path.is_file() else sorted(path.rglob("*.py"))
        text = "".join(source.read_text(encoding="utf-8") for source in sources)
        assert keyword in text, words
        assert where.partition("::")[2] in text, words
