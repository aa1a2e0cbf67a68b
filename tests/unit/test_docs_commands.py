"""Every command that README and docs/ show is one that exists, and is executed by a slow test."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ptm.cli.entry import build_parser
from ptm.errors import UserError
from ptm.recipe import load_recipe
from tests.docs_commands.pages import GENERATED, Command, blocks_of, commands_of, pages
from tests.docs_commands.shown import missing_line
from tests.docs_commands.table import table
from tests.docs_commands.words import assignments, simple_commands, without_environment

PROJECT = Path(__file__).parents[2]
PAGES = pages(PROJECT)
FOLDERS = ("recipes", "ds_configs", "launch", "benchmarks", "docs", "tests", "ptm")


@cache
def _parser() -> argparse.ArgumentParser:
    return build_parser()


@cache
def _options(name: str) -> frozenset[str]:
    """The options of `ptm NAME`, those of its own subcommands included."""
    found, parsers = set[str](), [_subparsers(_parser())[name]]
    while parsers:
        parser = parsers.pop()
        found |= set(parser._option_string_actions)  # noqa: SLF001
        parsers += _subparsers(parser).values()
    return frozenset(found)


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def _words(page: str) -> Iterator[tuple[Command, list[str]]]:
    """The words of each program that the commands of `page` start, with placeholders filled in."""
    variables = dict[str, str]()
    for command in commands_of(PROJECT, page):
        text = table().changed(command)
        if command.is_assignment:
            variables |= assignments(text, variables)
        elif "<<'END'" not in text:
            for words in simple_commands(text, variables):
                yield command, without_environment(words)


@pytest.mark.parametrize("page", PAGES)
def test_the_ptm_commands_of_a_page_parse(page: str) -> None:
    for command, words in _words(page):
        if words[:1] != ["ptm"]:
            continue
        try:
            parsed, rest = _parser().parse_known_args(words[1:])
        except SystemExit:
            pytest.fail(f"{command.place}: ptm has no such command: {' '.join(words)}")
        late = [word for word in rest if "=" in word and not word.startswith("-")]
        assert late == rest, f"{command.place}: unknown arguments {rest}"
        assert not late or hasattr(parsed, "overrides"), command.place


@pytest.mark.parametrize("page", PAGES)
def test_the_recipes_of_a_page_accept_the_keys_that_follow_them(page: str) -> None:
    for command, words in _words(page):
        if words[:1] != ["ptm"] or (table().reason(command) and "RECIPE" not in command.text):
            continue
        parsed, late = _parser().parse_known_args(words[1:])
        recipe = getattr(parsed, "recipe", None)
        if not isinstance(recipe, str) or not (PROJECT / recipe).is_file():
            continue
        try:
            load_recipe(str(PROJECT / recipe), [*parsed.overrides, *late])
        except UserError as error:
            pytest.fail(f"{command.place}: {error}")


@pytest.mark.parametrize("page", PAGES)
def test_the_files_that_the_commands_of_a_page_name_exist(page: str) -> None:
    for command, words in _words(page):
        for word in words:
            name = word.removeprefix("./").partition("=")[2] or word.removeprefix("./")
            if name.split("/")[0] in FOLDERS and "/" in name and Path(name).suffix:
                assert any(PROJECT.glob(name)), f"{command.place}: {name} does not exist"


@pytest.mark.parametrize("page", PAGES)
def test_the_rules_for_a_page_apply_to_its_commands(page: str) -> None:
    commands = commands_of(PROJECT, page)
    assert table().unused(page, commands) == []
    for command in commands:
        reason = table().reason(command)
        assert reason is None or len(reason) > 10, f"{command.place}: give a reason"


def test_the_rules_are_for_pages_that_exist() -> None:
    assert set(table().pages) <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_are_in_fences(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert text.count("```") % 2 == 0
    inside = {
        number
        for block in blocks_of(text)
        for number in range(block.line, block.line + len(block.lines))
    }
    for number, line in enumerate(text.splitlines(), start=1):
        assert number in inside or not re.match(r" {4,}(\$ )?ptm ", line), (
            f"{page}:{number}: put commands between ``` lines, so that they are executed"
        )


@pytest.mark.parametrize("page", PAGES)
def test_the_ptm_commands_in_the_text_of_a_page_exist(page: str) -> None:
    for found in _spans(page):
        words = found.split()
        if words[:1] != ["ptm"] or len(words) == 1 or not re.fullmatch("[a-z]+", words[1]):
            continue
        assert words[1] in _subparsers(_parser()), f"{page}: `{found}`"
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", found):
            known = _options(words[1]) | {"--help"}
            assert option in known, f"{page}: ptm {words[1]} has no {option}"


@pytest.mark.parametrize("page", PAGES)
def test_the_files_in_the_text_of_a_page_exist(page: str) -> None:
    for found in _spans(page):
        if found.split("/")[0] not in FOLDERS or re.search(r"[A-Z<>{}… ]{2,}|[<>{}… ]", found):
            continue
        name = found.partition("::")[0].partition("#")[0]
        assert "/" not in name or any(PROJECT.glob(name.rstrip("/"))), f"{page}: {name}"


def _spans(page: str) -> list[str]:
    text = (PROJECT / page).read_text(encoding="utf-8")
    text = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


@pytest.mark.parametrize("page", [*PAGES, *GENERATED])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (PROJECT / page).parent / name if name else PROJECT / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in _anchors(path), f"{page}: {target}"


def _anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", [one for one in (*PAGES, *GENERATED) if one.startswith("docs/")])
def test_a_page_begins_with_a_sentence_on_its_purpose(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    first = re.match(r"# .+\n\n((?:[A-Z`].*)(?:\n.+)*)", text)
    assert first, f"{page}: begin with a heading, an empty line and a sentence"
    sentence = re.split(r"(?<=[.:]) ", " ".join(first[1].split()))[0]
    assert re.search(r"\b(to|for|before|when|if)\b", sentence), (
        f"{page}: the first sentence names what the page is for, or for whom: '{sentence}'"
    )


def test_numbers_of_shown_lines_are_compared_by_shape() -> None:
    printed = "model: 12 parameters\nstep 20/30 · loss 5.6782\n"
    assert missing_line(["step 1,400/1500 · loss 7.1"], printed) is None
    assert missing_line(["step 1/2 · perplexity 7.1"], printed) == "step 1/2 · perplexity 7.1"
    assert missing_line(["model: ...", "step 1/2 …"], printed) is None


def test_shown_lines_are_expected_in_their_order() -> None:
    assert missing_line(["second", "first"], "first\nsecond\n") == "first"


def test_words_that_vary_match_other_words() -> None:
    assert missing_line(["1 LOC a"], "1\tPER\tb\n", varies=["LOC a"]) is None
    assert missing_line(["1 LOC a"], "1\tPER\tb\n") == "1 LOC a"
