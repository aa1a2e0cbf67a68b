"""README.md and README_ZH.md say the same, and their links lead somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ENGLISH, CHINESE = "README.md", "README_ZH.md"
PAGES = (ENGLISH, CHINESE)
_LINK = re.compile(r"(?P<sign>!?)\[[^\]\[]*\](?:\((?P<target>[^)\s]+)\)|\[(?P<name>[\w-]+)\])")
_DEFINITION = re.compile(r"^\[([\w-]+)\]: (\S+)$")
_CODE = re.compile(r"`[^`]+`")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_LIST_ITEM = re.compile(r"- ")


@dataclass(frozen=True)
class Block:
    """Lines between two empty lines, or a fenced block of code."""

    line: int
    lines: tuple[str, ...]
    is_code: bool = False

    @property
    def shape(self) -> tuple[str, object]:
        """The kind of the block, with the level of a heading or the cells of a table's rows."""
        first = self.lines[0]
        if self.is_code:
            return "code", first
        if first.startswith("#"):
            return "heading", len(first) - len(first.lstrip("#"))
        if first.startswith("|"):
            return "table", [line.count(" |") for line in self.lines]
        if _LIST_ITEM.match(first):
            return "list", sum(bool(_LIST_ITEM.match(line)) for line in self.lines)
        return "text", None

    @property
    def commands(self) -> list[str]:
        """The lines of code without the comments, which are translated."""
        return [re.sub(r"(^| +)# .*", "", line) for line in self.lines] if self.is_code else []

    @property
    def links(self) -> Counter[str]:
        """The targets and names of links, pictures and badges."""
        found = [m["sign"] + (m["target"] or m["name"]) for m in _LINK.finditer(self._text)]
        return Counter(found)

    @property
    def inline_code(self) -> Counter[str]:
        """What is quoted as code."""
        return Counter() if self.is_code else Counter(_CODE.findall(self._text))

    @property
    def figures(self) -> Counter[str]:
        """The numbers outside of code and of the targets of links."""
        prose = re.sub(r"\]\([^)\s]+\)|\]\[[\w-]+\]", "]", _CODE.sub("", self._text))
        return Counter() if self.is_code else Counter(_FIGURE.findall(prose))

    @property
    def _text(self) -> str:
        # A badge is a picture inside of a link: only its outer target is compared.
        return re.sub(r"\[!\[[^\]]*\]\([^)]*\)\]", "[badge]", "\n".join(self.lines))


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a page, up to the definitions of its links."""
    lines: list[str] = []
    start, is_code = 1, False
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.startswith("```"):
            if is_code:
                yield Block(start, tuple(lines), is_code=True)
                lines = []
            is_code = not is_code
            start = number
            if is_code:
                lines = [line]
        elif line or is_code:
            start = start if lines else number
            lines.append(line)
        elif lines:
            if not _DEFINITION.match(lines[0]):
                yield Block(start, tuple(lines))
            lines = []


def definitions_in(text: str) -> dict[str, str]:
    """The names of links with their targets."""
    found = (_DEFINITION.match(line) for line in text.splitlines())
    return {match[1]: match[2] for match in found if match}


def anchor_of(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("#").strip().lower())
    return words.replace(" ", "-")


def anchors_in(text: str) -> list[str]:
    """The anchors of a page's headings, in order."""
    return [anchor_of(b.lines[0]) for b in blocks_of(text) if b.shape[0] == "heading"]


@pytest.fixture(scope="module")
def pages(project: Path) -> dict[str, str]:
    return {name: (project / name).read_text(encoding="utf-8") for name in PAGES}


def _in_chinese(links: Counter[str], pages: dict[str, str]) -> Counter[str]:
    """English targets as the Chinese page has them: the other page, and its own headings."""
    pairs = zip(anchors_in(pages[ENGLISH]), anchors_in(pages[CHINESE]), strict=True)
    changed = {f"#{english}": f"#{chinese}" for english, chinese in pairs}
    changed[CHINESE] = ENGLISH
    return Counter({changed.get(link, link): count for link, count in links.items()})


def test_both_pages_have_the_same_blocks(pages: dict[str, str]) -> None:
    """Headings with their levels, tables with their shapes, lists with their lengths, in order."""
    english, chinese = (list(blocks_of(pages[name])) for name in PAGES)
    shapes = [block.shape for block in chinese]
    assert [block.shape for block in english] == shapes


def test_each_block_has_the_same_commands_links_code_and_figures(pages: dict[str, str]) -> None:
    for english, chinese in zip(*(blocks_of(pages[name]) for name in PAGES), strict=True):
        where = f"{ENGLISH}:{english.line} and {CHINESE}:{chinese.line}"
        assert english.commands == chinese.commands, where
        assert _in_chinese(english.links, pages) == chinese.links, where
        assert english.inline_code == chinese.inline_code, where
        assert english.figures == chinese.figures, where


def test_both_pages_define_the_same_links_and_use_all(pages: dict[str, str]) -> None:
    assert definitions_in(pages[ENGLISH]) == definitions_in(pages[CHINESE])
    for name in PAGES:
        used = {link for block in blocks_of(pages[name]) for link in block.links}
        assert set(definitions_in(pages[name])) <= used, name


def test_the_source_of_others_is_linked_at_a_fixed_version(pages: dict[str, str]) -> None:
    fixed = re.compile(
        r"https://github\.com/\w+/[\w-]+/(blob|tree)/([0-9a-f]{40}|v\d+\.\d+\.\d+)(/|$)"
    )
    for name, target in definitions_in(pages[ENGLISH]).items():
        assert fixed.match(target), f"{name}: {target}"


@pytest.mark.parametrize("name", PAGES)
def test_links_to_files_and_headings_of_the_project_lead_somewhere(
    pages: dict[str, str], project: Path, name: str
) -> None:
    for block in blocks_of(pages[name]):
        for link in block.links:
            if link.startswith(("https://", "!")) or link in definitions_in(pages[name]):
                continue
            path, _, anchor = link.partition("#")
            target = project / (path or name)
            assert target.exists(), f"{name}:{block.line}: {link}"
            if anchor:
                assert anchor in anchors_in(target.read_text("utf-8")), (
                    f"{name}:{block.line}: {link}"
                )
