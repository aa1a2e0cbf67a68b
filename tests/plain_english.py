"""Words that this project does not use, and where they stand: part of `make lint`.

Code, messages and pages are written in the field's own terms (CONTRIBUTING.md, "English"). Each
expression below was once a habit of this code that a stranger had to learn first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPORA = (ROOT / "recipes/quickstart/make_corpus.py",)
"""Files that hold text for models, not for readers."""
PLACES = (
    "ptm",
    "launch",
    "tests",
    "benchmarks",
    "recipes",
    "docs",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
)

# Expression -> what to write instead. Names with underscores are searched as words too.
BANNED = {
    r"refus(e|es|ed|al|als|ing)": "check_..., reject, 'is not supported', 'raises UserError'",
    r"told|tells?(?!\()|telling|untold": "pass, give, notify, log, report, name",
    r"hears?|heard|hearing": "receive, all_gather",
    r"said|unsaid": "declared, given, documented; the sentence without it",
    r"asked|asks": "requested, called, queried",
    r"learnt": "trained, learned",
    r"there (is|are|was|were) none": "'if absent', 'without ...', 'no ...'",
    r"where there (is|are)": "'if ...'",
    r"of those": "the noun",
    r"what (it|they) (is|are|was|were|has|have|had|does|do)": "the noun",
    r"whoever|nobody|everybody|anybody": "the noun, or the passive",
    r"lies|lying": "is, are (in a folder)",
    r"(go|goes|going|went|gone) on": "continue",
    r"begun": "started",
    r"twins?": "duplicate",
    r"mends?|mended|mending": "fix",
    r"lonely|kept company": "single",
    r"thereof|whereof|therein|wherein|thereby|whereby": "plain words",
    r"stands? (in|at|on|under|before|after|there|here)": "is (in, at, on)",
}
_WORD = re.compile(
    "|".join(rf"(?P<p{i}>{expression})" for i, expression in enumerate(BANNED)), re.IGNORECASE
)
# A word ends where a letter does not follow: `check_duplicate_overrides` holds two.
_BEFORE, _AFTER = re.compile(r"[A-Za-z]$"), re.compile(r"^[a-z]", re.IGNORECASE)


def files() -> Iterator[Path]:
    """The files of the project that people read."""
    for place in PLACES:
        path = ROOT / place
        if path.is_file():
            yield path
        else:
            for suffix in ("*.py", "*.md", "*.yaml"):
                yield from sorted(path.rglob(suffix))


def findings(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, expression found and what to write instead."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _WORD.finditer(line):
            if _BEFORE.search(line[: match.start()]) or _AFTER.search(line[match.end() :]):
                continue
            rule = next(name for name, value in match.groupdict().items() if value)
            yield number, match.group(), tuple(BANNED.values())[int(rule[1:])]


def main(arguments: list[str]) -> int:
    """Print what was found in `arguments` (all files without them); 1 if anything was."""
    chosen = [Path(argument).resolve() for argument in arguments]
    count = 0
    for path in files():
        if path in (Path(__file__), *CORPORA) or (
            chosen and not any(path == one or one in path.parents for one in chosen)
        ):
            continue
        for number, found, instead in findings(path.read_text(encoding="utf-8")):
            print(f"{path.relative_to(ROOT)}:{number}: '{found}': write {instead}.")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
