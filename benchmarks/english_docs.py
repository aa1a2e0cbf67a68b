"""Write English text from the documentation of Debian packages: one distinct paragraph per line.

python benchmarks/english_docs.py OUT [--packages NAME ...]

Takes the manual pages in English and the changelogs, NEWS, README and copyright files of the
packages, which must be installed. Prints the version and the bytes of each, and the size and the
SHA-256 of the whole. The same versions give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ptm.errors import UserError

PACKAGES = (
    *("bash", "binutils-common", "cmake-data", "coreutils", "dirmngr", "dpkg", "e2fsprogs"),
    *("findutils", "fontconfig", "gcc-12", "git", "git-man", "libboost-filesystem1.74.0"),
    *("libgcrypt20", "libglib2.0-0", "libgmp-dev", "libgnutls-dane0", "libharfbuzz0b"),
    *("libmpfr6", "libpixman-1-0", "libssl-dev", "libtinfo6", "linux-libc-dev", "login"),
    *("man-db", "manpages", "manpages-dev", "openssl", "python3.11", "strace", "systemd", "tar"),
    *("wget", "x11-common"),
)
"""Packages of Debian 12 that are taken without `--packages`: 50 MB."""
_MANUAL = re.compile(r".*/man/man\w+/[^/]+")
_DOCUMENT = re.compile(r"/usr/share/doc/.*/(changelog|news|readme|copyright)[^/]*", re.IGNORECASE)
_OTHER_FILES = re.compile(r"\.(png|svg|html?|js|css|pdf|ps|dvi|py|pl|sh|c|h)(\.gz)?$")
_ESCAPE = re.compile(r"\\(f\[\w*\]|f\(..|f\w|s[+-]?\d+|[&|^/,%]|\*\[\w+\]|\*\(..|\[[^\]]*\]|\(..)")
_DASH = re.compile(r"\\(-|\(em|\(en|\[em\]|\[en\])")
_FONT = re.compile(r"\.(B|I|BR|BI|IR|RB|RI|IB) +(.*)")
_FEWEST_CHARACTERS = 40
"""Shorter paragraphs are mostly headings and names."""


def paragraphs_of(path: Path) -> Iterator[str]:
    """The paragraphs of a manual page or of a plain text file."""
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8", "replace")
    lines = _without_roff(text) if _MANUAL.match(str(path)) else text.splitlines()
    for paragraph in _joined(lines):
        if len(paragraph) >= _FEWEST_CHARACTERS and "\ufffd" not in paragraph:
            yield paragraph


def _without_roff(text: str) -> Iterator[str]:
    """The text of a manual page; a request (a line that begins with a dot) ends a paragraph."""
    for line in text.splitlines():
        if line.startswith((".", "'")):
            # Requests for fonts are inside a paragraph, and have text.
            font = _FONT.match(line)
            yield _ESCAPE.sub("", font.group(2).replace('"', "")) if font else ""
        else:
            yield _ESCAPE.sub("", _DASH.sub("-", line)).replace("\\", "")


def _joined(lines: Iterator[str] | list[str]) -> Iterator[str]:
    """The lines up to each blank one, joined by single spaces."""
    words: list[str] = []
    for line in lines:
        if not line.strip():
            if words:
                yield " ".join(words)
            words = []
        words += line.split()
    if words:
        yield " ".join(words)


def files_of(package: str) -> list[Path]:
    """The documentation of an installed package. Raises UserError if it is not installed."""
    if shutil.which("dpkg") is None:
        raise UserError("This system has no program dpkg. Run the script on Debian or Ubuntu.")
    found = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False)
    if found.returncode:
        raise UserError(f"{package}: the package is not installed. Run `apt install {package}`.")
    paths = sorted({line for line in found.stdout.splitlines() if _is_documentation(line)})
    # A link names a page that another path has.
    return [path for path in map(Path, paths) if path.is_file() and not path.is_symlink()]


def _is_documentation(path: str) -> bool:
    if _OTHER_FILES.search(path):
        return False
    return bool(_MANUAL.fullmatch(path) or _DOCUMENT.fullmatch(path))


def version_of(package: str) -> str:
    """The version of an installed package."""
    command = ["dpkg-query", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description="Write English text from Debian packages.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--packages", nargs="+", default=PACKAGES)
    arguments = parser.parse_args()
    seen: set[bytes] = set()
    digest = hashlib.sha256()
    total = 0
    with arguments.out.open("wb") as out:
        for package in sorted(arguments.packages):
            before = total
            for path in files_of(package):
                for paragraph in paragraphs_of(path):
                    line = f"{paragraph}\n".encode()
                    key = hashlib.blake2b(line, digest_size=16).digest()
                    if key not in seen:
                        seen.add(key)
                        out.write(line)
                        digest.update(line)
                        total += len(line)
            print(f"{package} {version_of(package)}: {(total - before) / 1e6:.2f} MB")
    print(f"{arguments.out}: {total:,} bytes, {len(seen):,} paragraphs")
    print(f"SHA-256 {digest.hexdigest()}")


if __name__ == "__main__":
    main()
