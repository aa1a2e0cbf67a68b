"""Write the bundled demonstration corpus: about 600 KB of simple English and Chinese.

    python recipes/quickstart/make_corpus.py [--output DIRECTORY]

Every document is composed from the hand-written facts and sentence patterns in ``corpus_source``,
so the text is our own, and the same files come out on every machine. The sentences that
``probes.tsv`` asks a trained model to complete never occur in the corpus; their facts do, in
other words.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from corpus_source.chinese_lessons import LESSONS as CHINESE_LESSONS
from corpus_source.chinese_stories import STORIES as CHINESE_STORIES
from corpus_source.dealing import Dealer, DocumentKind
from corpus_source.english_lessons import LESSONS as ENGLISH_LESSONS
from corpus_source.english_lessons import with_articles
from corpus_source.english_stories import STORIES as ENGLISH_STORIES

HERE = Path(__file__).resolve().parent
BYTES_PER_LANGUAGE = 310_000


def held_out_sentences(probes: Path) -> list[str]:
    """The probe sentences with the answer filled in, without case and final punctuation."""
    sentences = []
    for line in probes.read_text(encoding="utf-8").splitlines():
        question, answer = line.split("\t")
        sentences.append(question.replace("[MASK]", answer).rstrip(".。").casefold())
    return sentences


def documents(
    seed: str,
    kinds: tuple[tuple[DocumentKind, int], ...],
    polish: Callable[[str], str],
    held_out: list[str],
) -> Iterator[str]:
    """An endless stream of different documents, each kind as often as its weight demands."""
    dealer = Dealer(seed)
    schedule = tuple((kind, turn) for kind, weight in kinds for turn in range(weight))
    seen: set[str] = set()
    while True:
        kind, _ = dealer.one(schedule)
        document = polish(kind(dealer))
        if document in seen or any(sentence in document.casefold() for sentence in held_out):
            continue
        seen.add(document)
        yield document


def write(path: Path, stream: Iterator[str], size: int) -> None:
    """Write documents, one a line, until the file holds ``size`` bytes."""
    written = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        while written < size:
            document = next(stream)
            file.write(document + "\n")
            written += len(document.encode()) + 1


def main() -> None:
    """Write ``english.txt`` and ``chinese.txt``."""
    parser = argparse.ArgumentParser(description="Write the demonstration corpus.")
    parser.add_argument("--output", type=Path, default=HERE / "corpus", help="target directory")
    arguments = parser.parse_args()
    held_out = held_out_sentences(HERE / "probes.tsv")
    arguments.output.mkdir(parents=True, exist_ok=True)
    english = documents("english", ENGLISH_LESSONS + ENGLISH_STORIES, with_articles, held_out)
    write(arguments.output / "english.txt", english, BYTES_PER_LANGUAGE)
    chinese = documents("chinese", CHINESE_LESSONS + CHINESE_STORIES, str, held_out)
    write(arguments.output / "chinese.txt", chinese, BYTES_PER_LANGUAGE)


if __name__ == "__main__":
    main()
