"""The English corpus of the benchmarks: paragraphs of manual pages and of plain text."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.english_docs import files_of, paragraphs_of
from ptm.errors import UserError

PAGE = r""".\" A comment
.TH LS 1
.SH DESCRIPTION
List information about the
.B FILEs
(the current directory by default), \fBsorted\fR \(em alphabetically.
.PP
.TP
short
"""


def test_a_manual_page_gives_its_paragraphs_without_requests(tmp_path: Path) -> None:
    page = tmp_path / "man/man1/ls.1.gz"
    page.parent.mkdir(parents=True)
    page.write_bytes(gzip.compress(PAGE.encode()))
    assert list(paragraphs_of(page)) == [
        "List information about the FILEs (the current directory by default), sorted - "
        "alphabetically."
    ]


def test_a_document_gives_its_paragraphs(tmp_path: Path) -> None:
    path = tmp_path / "README"
    first = "A paragraph of two lines that is long\nenough to be kept."
    path.write_text(f"Title\n\n{first}\n \n.B is text here, and not a request of roff\n", "utf-8")
    assert list(paragraphs_of(path)) == [
        first.replace("\n", " "),
        ".B is text here, and not a request of roff",
    ]


def test_a_package_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(UserError, match=r"is not installed|no program dpkg"):
        files_of("no-such-package-of-debian")
