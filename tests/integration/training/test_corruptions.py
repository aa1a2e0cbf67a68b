"""Damaged files of a store, a run and an export: a sentence, and never another result."""

from __future__ import annotations

import pytest

from tests.support.corruptions import Case, Project, cases

DEFAULT, ALL = 40, 500


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("corruptions"))


@pytest.mark.parametrize(
    "case",
    cases(DEFAULT, seed=0),
    ids=lambda case: f"{case.damage} {case.target.pattern} {case.command}",
)
def test_a_damaged_file_ends_a_command_with_a_sentence_or_changes_nothing(
    project: Project, case: Case
) -> None:
    assert project.problem(case) is None


@pytest.mark.slow
def test_five_hundred_damages_end_with_a_sentence_or_change_nothing(project: Project) -> None:
    problems = [project.problem(case) for case in cases(ALL, seed=1)]
    assert [problem for problem in problems if problem is not None] == []
