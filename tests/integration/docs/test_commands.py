"""The commands of README and docs/ are executed, and print what the pages show."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs_commands.checkout import Checkout
from tests.docs_commands.pages import commands_of, pages
from tests.docs_commands.shown import missing_line
from tests.docs_commands.small_data import write_small_data
from tests.docs_commands.table import table

PROJECT = Path(__file__).parents[3]
PAGES = [
    page
    for page in pages(PROJECT)
    if any(not table().reason(command) for command in commands_of(PROJECT, page))
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def prepared(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with small files and models, and what every page needs of them."""
    folder = tmp_path_factory.mktemp("prepared") / "ptm"
    checkout = Checkout.copy(PROJECT, folder)
    write_small_data(shared_data, folder / "small")
    result = checkout.run(f"set -e\n{table().everywhere.setup}")
    assert result.code == 0, result.output
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_do_what_it_says(page: str, prepared: Path, tmp_path: Path) -> None:
    shutil.copytree(prepared, tmp_path / "ptm", symlinks=True)
    checkout = Checkout(tmp_path / "ptm")
    rules = table().pages.get(page)
    if rules and rules.setup:
        result = checkout.run(f"set -e\n{rules.setup}")
        assert result.code == 0, f"{page}: the setup failed:\n{result.output}"
    for command in commands_of(PROJECT, page):
        text = table().changed(command)
        if table().reason(command):
            continue
        if command.is_assignment:
            checkout.variables.append(text)
            continue
        result = checkout.run(text, seconds=table().seconds(command))
        shown = f"{command.place}: {text}\n{result.output[-4000:]}"
        assert result.code == table().exit_code(command), f"exit code {result.code}: {shown}"
        varies = rules.varies if rules else []
        missing = missing_line(command.output, result.output, varies=varies)
        assert missing is None, f"'{missing}' was not printed: {shown}"
