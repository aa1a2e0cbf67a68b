"""The strings of a corpus that became the unknown token, found in a sample of its text.

A store has ids alone, so that the corpus files are read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ptm.store.preprocess import Preprocessing
from ptm.text.tokenizers import Tokenizer

SAMPLE_BYTES = 4_000_000
"""About how many bytes of text are read, in proportion to the sizes of the files."""
_LEAST_PER_FILE = 2**14
_MOST_FILES = 1000
_MOST_SHOWN = 30
_LONGEST = 60
_BYTES_PER_CALL = 2**18


@dataclass(frozen=True)
class UnknownStrings:
    """A sample of a corpus, and what became the unknown token in it."""

    text_bytes: int
    """Bytes of the sampled text in UTF-8, without line ends."""
    documents: int
    tokens: int
    """How often the unknown token occurs in the sample."""
    distinct: int
    """Number of different strings that became the unknown token."""
    most_frequent: tuple[tuple[str, int], ...]
    """Strings and how often each became the unknown token; the most frequent first."""


def sample_unknown_strings(work: Preprocessing, *, limit: int = SAMPLE_BYTES) -> UnknownStrings:
    """Tokenise the first part of each corpus file again, and count the strings of unknown tokens.

    `limit`: about how many bytes of text are read. Of more than 1,000 files, evenly spread ones
    are read. Raises UserError if a file cannot be read.
    """
    source = work.tokenizer.load()
    target = work.target_tokenizer.load(key="target_tokenizer") if work.target_tokenizer else source
    found: Counter[str] = Counter()
    text_bytes = documents = 0
    for some in _samples(work, limit):
        documents += len(some)
        text_bytes += sum(len(text.encode()) for document in some for text in document)
        if work.layout == "pairs":
            found.update(_unknown(source, [texts[0] for texts in some]))
            found.update(_unknown(target, [texts[1] for texts in some]))
        else:
            found.update(_unknown(source, [text for document in some for text in document]))
    return UnknownStrings(
        text_bytes=text_bytes,
        documents=documents,
        tokens=found.total(),
        distinct=len(found),
        most_frequent=tuple(found.most_common(_MOST_SHOWN)),
    )


def _samples(work: Preprocessing, limit: int) -> Iterator[list[list[str]]]:
    """Yield some documents at a time of each file, up to its share of `limit`."""
    parse = work.encoder().parse
    files = work.corpus[:: -(-len(work.corpus) // _MOST_FILES)]
    total = sum(file.bytes for file in files)
    for file in files:
        left = max(_LEAST_PER_FILE, limit * file.bytes // total)
        (reader,) = replace(work, corpus=(file,)).readers()
        for block in reader.blocks():
            some: list[list[str]] = []
            size = 0
            for document in parse(block).documents:
                if size >= min(left, _BYTES_PER_CALL):
                    yield some
                    left, some, size = left - size, [], 0
                if left <= 0:
                    break
                some.append(document)
                size += sum(len(text.encode()) for text in document)
            yield some
            left -= size
            if left <= 0:
                break


def _unknown(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[str]:
    """Yield the string of every unknown token of `texts`."""
    if not tokenizer.vocabulary.has("unk"):
        return
    unknown = tokenizer.vocabulary.special_id("unk")
    # Offsets take longer than ids, and few texts have unknown tokens.
    ids = tokenizer.encode(texts)
    some = [text for text, found in zip(texts, ids, strict=True) if unknown in found]
    for text, (tokens, offsets) in zip(some, tokenizer.encode_with_offsets(some), strict=True):
        for token, (begin, end) in zip(tokens, offsets, strict=True):
            if token == unknown:
                yield text[begin : min(end, begin + _LONGEST)]
