"""The numbers of a token store: one pass over its shards, each opened by itself.

Memory is that of the largest shard, plus 16 bytes per document for the search for duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ptm.arrays import I64
from ptm.runs.corpus.lengths import LengthHistogram
from ptm.store.format import StoreInfo
from ptm.store.reader import TokenStore

_TOKENS_TOGETHER = 2**20
_MOST_REPEATED = 5
_NO_REASONS = {
    *("lines", "text_bytes", "unknown_tokens", "source_tokens", "target_tokens"),
    *("words", "words_without_tokens", "repaired_tags"),
    *("questions", "unanswerable_questions", "answers_moved", "answers_inside_tokens"),
    "answers_not_in_context",
}
"""Counts of the manifest's report that are not numbers of lines or documents left out."""
CUTTING_LAYOUTS = ("pairs", "triplets", "labelled")
"""Layouts whose documents are examples, which are cut to fit into a row."""


@dataclass(frozen=True)
class Repeated:
    """A document that occurs `count` times; the first time at `start`, with `length` tokens."""

    count: int
    start: int
    """Position in the store, in tokens."""
    length: int


@dataclass(frozen=True)
class Duplicates:
    """Exact duplicates: documents whose token ids have equal hashes."""

    copies: int
    """Documents that repeat an earlier one."""
    repeated: int
    """Different documents that occur more than once."""
    most_repeated: tuple[Repeated, ...]


@dataclass(frozen=True)
class StoreCounts:
    """The numbers of one token store; None for what its manifest does not hold."""

    documents: int
    sentences: int
    tokens: int
    text_bytes: int | None
    """Bytes of the text in UTF-8, without line ends."""
    unknown_tokens: int | None
    lines: int | None
    left_out: Mapping[str, int]
    """Lines and documents that are not in the store, by reason; reasons that did not occur too."""
    vocabulary_size: int
    tokens_used: int | None
    """Different tokens that occur; None if the targets have a vocabulary of their own."""
    lengths: LengthHistogram
    """Tokens per document; a pair counts as one document."""
    duplicates: Duplicates

    @property
    def bytes_per_token(self) -> float | None:
        """Bytes of text per token."""
        return None if self.text_bytes is None else self.text_bytes / self.tokens

    @property
    def unknown_share(self) -> float | None:
        """Unknown tokens per token."""
        return None if self.unknown_tokens is None else self.unknown_tokens / self.tokens


def shards_of(store: TokenStore) -> Iterator[TokenStore]:
    """Yield each shard as a store of its own, whose positions start at 0."""
    for shard in store.info.shards:
        yield TokenStore(store.folder, replace(store.info, shards=(shard,)))


def lengths_of(store: TokenStore) -> LengthHistogram:
    """The lengths of all documents."""
    return LengthHistogram.of(shard.document_ranges[1] for shard in shards_of(store))


def count_store(store: TokenStore, *, unknown_id: int | None = None) -> StoreCounts:
    """Count what is in a store. Raises UserError if a shard is damaged.

    `unknown_id`: the unknown token, for stores of earlier versions, which did not count it.
    """
    info = store.info
    occurrences = None if info.target_tokenizer else token_counts(store)
    unknown = info.report.get("unknown_tokens")
    if unknown is None and occurrences is not None and unknown_id is not None:
        unknown = int(occurrences[unknown_id])
    return StoreCounts(
        documents=info.documents,
        sentences=sum(shard.sentences for shard in info.shards),
        tokens=info.tokens,
        text_bytes=info.report.get("text_bytes"),
        unknown_tokens=unknown,
        lines=info.report.get("lines"),
        left_out=left_out_of(info),
        vocabulary_size=info.vocabulary_size,
        tokens_used=None if occurrences is None else int((occurrences > 0).sum()),
        lengths=lengths_of(store),
        duplicates=find_duplicates(store),
    )


def left_out_of(info: StoreInfo) -> dict[str, int]:
    """The lines and documents that were left out of a store, by reason."""
    found = info.report.items()
    return {key.replace("_", " "): count for key, count in found if key not in _NO_REASONS}


def token_counts(store: TokenStore) -> I64:
    """How often each token of the vocabulary occurs (V)."""
    total = np.zeros(store.info.vocabulary_size, dtype=np.int64)
    for shard in shards_of(store):
        for start in range(0, shard.info.tokens, _TOKENS_TOGETHER):
            length = min(_TOKENS_TOGETHER, shard.info.tokens - start)
            total += np.bincount(
                shard.tokens(np.array([start]), np.array([length])), minlength=total.size
            )
    return total


def find_duplicates(store: TokenStore) -> Duplicates:
    """Find documents with equal token ids, by their hashes."""
    hashes = np.concatenate([shard.document_hashes for shard in shards_of(store)])
    hashes.sort()
    begins = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
    counts = np.diff(begins, append=hashes.size)
    repeated = np.flatnonzero(counts > 1)
    most = repeated[np.argsort(-counts[repeated], kind="stable")][:_MOST_REPEATED]
    wanted = {int(hashes[begins[i]]): int(counts[i]) for i in most}
    return Duplicates(
        copies=hashes.size - begins.size,
        repeated=repeated.size,
        most_repeated=tuple(_located(store, wanted)),
    )


def _located(store: TokenStore, wanted: Mapping[int, int]) -> Iterator[Repeated]:
    """Yield the first document of each hash of `wanted` (hash to count), most frequent first."""
    found: dict[int, Repeated] = {}
    before = 0
    for shard in shards_of(store):
        if len(found) == len(wanted):
            break
        starts, lengths = shard.document_ranges
        keys = np.array([key for key in wanted if key not in found], dtype=np.uint64)
        for at in np.flatnonzero(np.isin(shard.document_hashes, keys)).tolist():
            key = int(shard.document_hashes[at])
            place = Repeated(wanted[key], before + int(starts[at]), int(lengths[at]))
            found.setdefault(key, place)
        before += shard.info.tokens
    yield from sorted(found.values(), key=lambda one: (-one.count, one.start))
