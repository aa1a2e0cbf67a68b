"""The page of a corpus report: one file, with every text of the corpus escaped."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ptm.runs.corpus.page import page_of
from ptm.runs.corpus.report import CorpusReport, report_stores
from ptm.runs.corpus.unknown_strings import UnknownStrings
from tests.unit.runs.corpus.corpora import drawn_documents, make_store

HOSTILE = '<script>alert("x")</script><img src=http://e.org/a>&amp;\x1b[31m\u202e'


class Page(HTMLParser):
    """Collects the tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(tmp_path: Path, tiny_vocab: Path) -> CorpusReport:
    (tmp_path / "corpus.txt").write_text("\n".join(drawn_documents(50)), encoding="utf-8")
    make_store(tmp_path, tmp_path / "corpus.txt", vocab=tiny_vocab)
    return report_stores(tmp_path / "store")


@pytest.fixture
def hostile(report: CorpusReport) -> CorpusReport:
    """A report whose names and texts are all hostile."""
    store = report.stores[0]
    strings = UnknownStrings(10, 1, 1, 1, ((HOSTILE, 1),))
    changed = replace(
        store,
        name=HOSTILE,
        folder=HOSTILE + "2",
        findings=(HOSTILE,),
        unknown_strings=strings,
        repeated=tuple((one, HOSTILE) for one, _ in store.repeated),
        sample=(HOSTILE,),
        counts=replace(store.counts, left_out={HOSTILE: 1}),
    )
    return CorpusReport(HOSTILE, (changed, changed), HOSTILE, 7)


def test_the_page_shows_the_numbers_of_the_store(report: CorpusReport) -> None:
    page = Page(page_of(report))
    assert page.open == []
    counts = report.stores[0].counts
    for number in (counts.documents, counts.tokens, counts.duplicates.copies):
        assert f"{number:,}" in page.text
    assert f"{counts.bytes_per_token:.2f}" in page.text
    for heading in ("Length of documents", "Cells filled", "Unknown tokens", "Left out"):
        assert heading in page.text


def test_the_page_needs_no_other_file_and_no_script(report: CorpusReport) -> None:
    text = page_of(report)
    page = Page(text)
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert not page.attributes & {"src", "href", "onload", "style"}
    assert "default-src 'none'" in text
    assert "url(" not in text


def test_every_text_of_the_corpus_is_escaped(report: CorpusReport, hostile: CorpusReport) -> None:
    text = page_of(hostile)
    expected, found = Page(page_of(report)), Page(text)
    assert found.open == []
    assert found.tags <= expected.tags | {"pre"}
    assert found.attributes <= expected.attributes
    assert found.text.count('<script>alert("x")</script>') >= 10
    assert "\x1b" not in text
    assert "\u202e" not in text
