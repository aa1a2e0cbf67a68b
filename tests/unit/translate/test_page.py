"""The page of options has every option of the other tools."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ptm.recipe import Recipe
from ptm.recipe.keys import keys_of
from ptm.translate.programs import programs

_SECTIONS = {
    "uer-py": r"UER-py.*",
    "tencentpretrain": r"(UER-py|TencentPretrain).*",
    "huggingface": r"(run_.*|TrainingArguments)",
}


def _options(text: str) -> list[tuple[str, str]]:
    """(program, option) of every line that is not a comment."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [(program, option) for program, option in lines]


def _sections(page: str) -> dict[str, str]:
    """Title of a section to its text."""
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in page.split("\n## ")[1:]}


def _missing(wanted: list[tuple[str, str]], page: str) -> list[tuple[str, str]]:
    sections = _sections(page)
    missing = []
    for program, option in wanted:
        tool, _, script = program.partition("/")
        fitting = [
            text
            for title, text in sections.items()
            if re.fullmatch(_SECTIONS[tool], title)
            and (tool != "huggingface" or title in (script, "TrainingArguments"))
        ]
        if not any(f"`{option}`" in text for text in fitting):
            missing.append((program, option))
    return missing


def test_every_option_is_on_the_page(project: Path) -> None:
    wanted = _options((project / "tests/fixtures/options_of_others.txt").read_text())
    page = (project / "docs/translate.md").read_text(encoding="utf-8")
    assert len(wanted) > 300
    assert _missing(wanted, page) == []


def test_every_option_of_the_given_list_is_on_the_page(project: Path) -> None:
    given = project.parent / "shared" / "options_of_others.txt"
    if not given.exists():
        pytest.skip(f"{given} does not exist")
    page = (project / "docs/translate.md").read_text(encoding="utf-8")
    assert _missing(_options(given.read_text(encoding="utf-8")), page) == []


def test_the_page_lacks_an_option_that_does_not_exist(project: Path) -> None:
    page = (project / "docs/translate.md").read_text(encoding="utf-8")
    wanted = [("uer-py/pretrain.py", "--seq"), ("huggingface/run_clm.py", "--line_by_line")]
    assert _missing(wanted, page) == wanted


def test_a_copied_value_goes_to_a_key_that_exists() -> None:
    known = {key.dotted for key in keys_of(Recipe)}
    later = {"objective.labels", "objective.pooling"}
    for title, options in programs().items():
        for option in options:
            assert option.copied_to in known | later | {""}, (title, option.name)


def test_every_dotted_key_of_a_counterpart_exists() -> None:
    known = {key.dotted for key in keys_of(Recipe)}
    blocks = {key.rpartition(".")[0] for key in known}
    later = {"objective.labels", "objective.pooling"}
    later |= {"model.encoder.bidirectional"} | {"data.evaluation.dev", "data.evaluation.test"}
    for title, options in programs().items():
        for option in options:
            for key in re.findall(r"`([a-z]\w*(?:\.\w+)+)(?:: [^`]*)?`", option.counterpart):
                parent = key.rpartition(".")[0]
                fits = key in known | blocks or {key, parent} & later
                assert fits or key.startswith("data.evaluation."), (title, option.name, key)
