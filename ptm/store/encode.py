"""Tokenising texts, and turning blocks of a corpus into the shards of a store.

Shape letters: T tokens, S sentences (or other texts), D documents, P pairs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.errors import UserError
from ptm.files.reading import MEGABYTE, FileContentError, read_bytes
from ptm.files.records import parse_json_as
from ptm.store.format import document_hashes, write_shard
from ptm.store.shards import ShardFile, ShardInfo
from ptm.text.corpus import Block, Layout, ParsedBlock, parse_block
from ptm.text.labelled_lines import parse_labelled
from ptm.text.labels import LabelSet
from ptm.text.pair_lines import parse_pairs
from ptm.text.segmenters import Segmenter
from ptm.text.sentences import split_sentences
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.text.words import WordStartEncoder

_CHARACTERS_PER_CALL = 2**18
"""Characters per call of the tokenizer; bounds the memory of its results."""


@dataclass(frozen=True)
class EncodedTexts:
    """The tokens of several texts, concatenated."""

    tokens: NDArray[Any]
    """Token ids (T)."""
    lengths: I64
    """Tokens per text (S)."""
    word_starts: NDArray[np.bool_] | None = None
    """Whether each token starts a word (T); None without a segmenter."""


class TextTokenizer:
    """Tokenises texts to ids of `dtype`, and marks word starts if there is a segmenter."""

    def __init__(
        self, tokenizer: Tokenizer, segmenter: Segmenter | None, dtype: type[np.unsignedinteger]
    ) -> None:
        self._tokenizer = tokenizer
        self._words = WordStartEncoder(tokenizer, segmenter) if segmenter else None
        vocabulary = tokenizer.vocabulary
        self.unknown_id = vocabulary.special_id("unk") if vocabulary.has("unk") else -1
        """Id of the unknown token; -1 if absent."""
        self._dtype = dtype

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        """Tokenise all `texts`."""
        # np.concatenate needs at least one array, and `texts` may be empty.
        ids: list[NDArray[Any]] = [np.empty(0, self._dtype)]
        lengths = [np.empty(0, np.int64)]
        starts = [np.empty(0, bool)]
        for batch in _batches(texts, _CHARACTERS_PER_CALL):
            if self._words is not None:
                tokens, sizes, begins = self._words.encode(batch)
                starts.append(begins)
            else:
                tokens, sizes = self._tokenizer.encode_arrays(batch)
            ids.append(tokens.astype(self._dtype))
            lengths.append(sizes)
        return EncodedTexts(
            np.concatenate(ids),
            np.concatenate(lengths),
            np.concatenate(starts) if self._words is not None else None,
        )


def interleave(sources: EncodedTexts, targets: EncodedTexts) -> EncodedTexts:
    """Interleave the tokens of P pairs: source, target, source, target …

    A pair with a side without tokens is dropped: both its lengths become 0. The result has S = 2P,
    and word starts if both sides have them.
    """
    whole = (sources.lengths > 0) & (targets.lengths > 0)
    # Start of each side of each whole pair in the concatenation of source and target tokens.
    begins = [exclusive_cumsum(side.lengths) for side in (sources, targets)]
    starts = np.stack([begins[0], begins[1] + sources.tokens.size], axis=1)[whole].ravel()
    lengths = np.stack([sources.lengths, targets.lengths], axis=1)
    kept = ragged_ranges(starts, lengths[whole].ravel())
    lengths[~whole] = 0
    words = None
    if sources.word_starts is not None and targets.word_starts is not None:
        words = np.concatenate([sources.word_starts, targets.word_starts])[kept]
    tokens = np.concatenate([sources.tokens, targets.tokens])
    return EncodedTexts(tokens[kept], lengths.ravel(), words)


def _batches(texts: Sequence[str], characters: int) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(frozen=True)
class BlockCounts:
    """Counts of one block."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    file: int
    """Index of the file in the corpus."""
    lines: int
    blank: int
    invalid: int
    """Lines that are not UTF-8."""
    first_invalid: int | None
    """Index in the block, from 0, of the first line that is not UTF-8."""
    empty_documents: int
    """Documents without tokens, and pairs with a side without tokens; they are left out."""
    source_tokens: int = 0
    """Tokens of the sources, with layout `pairs`."""
    labels: tuple[int, ...] = ()
    """Documents of each class, with layout `labelled`."""
    unknown_tokens: int = 0


class BlockTokenizer:
    """Turns a block into the arrays of a shard."""

    def __init__(
        self,
        tokenizer: TokenizerConfig,
        segmenter: Segmenter | None,
        layout: Layout,
        *,
        sentence_splitting: bool,
        target_tokenizer: TokenizerConfig | None = None,
        labels: LabelSet | None = None,
    ) -> None:
        """`target_tokenizer` is for the targets with layout `pairs`; default: `tokenizer`.

        `labels`: those of layout `labelled`.
        """
        assert segmenter is None or layout != "pairs", "word starts are not supported for pairs"
        assert (labels is not None) == (layout == "labelled"), "labels belong to layout labelled"
        source = tokenizer.load()
        target = target_tokenizer.load(key="target_tokenizer") if target_tokenizer else source
        largest = max(source.vocabulary.size, target.vocabulary.size)
        dtype = np.uint16 if largest <= 2**16 else np.uint32
        self._encode = TextTokenizer(source, segmenter, dtype)
        self._encode_targets = TextTokenizer(target, segmenter, dtype)
        self._layout = layout
        self._labels = labels
        self._splits = sentence_splitting

    def __call__(self, block: Block) -> tuple[dict[str, NDArray[Any]], BlockCounts]:
        """Return the arrays of the block's shard (see `ptm.store.format`) and its counts."""
        parsed = self._parsed(block)
        texts = parsed.documents
        if self._splits:
            texts = [split_sentences(line) for document in texts for line in document]
        # A pair has both its texts or none.
        pairs = self._layout == "pairs"
        together = pairs or (self._labels is not None and len(texts) > 0 and len(texts[0]) == 2)
        encoded = self._encode_pairs(texts) if together else self._encode_documents(texts)
        tokens, lengths, starts = encoded.tokens, encoded.lengths, encoded.word_starts
        # Sentences per document (D), and the document of each sentence (S).
        documents = np.array([len(document) for document in texts], dtype=np.int64)
        owner = np.repeat(np.arange(len(documents)), documents)
        # Sentences without tokens, such as zero-width characters alone, are left out; so are
        # documents without a sentence that has tokens.
        documents = np.bincount(owner[lengths > 0], minlength=len(documents))
        empty = int((documents == 0).sum())
        sentence_ends = np.cumsum(lengths[lengths > 0], dtype=np.int64)
        document_ends = np.cumsum(documents[documents > 0], dtype=np.int64)
        ends_in_tokens = sentence_ends[document_ends - 1]
        arrays: dict[str, NDArray[Any]] = {
            "tokens": tokens,
            "sentence_ends": sentence_ends,
            "document_ends": document_ends,
            "document_hashes": document_hashes(tokens, ends_in_tokens),
        }
        if starts is not None:
            arrays["word_starts"] = np.packbits(starts)
        of_class: tuple[int, ...] = ()
        if self._labels is not None:
            labels = np.array(parsed.labels, dtype=np.int32)[documents > 0]
            arrays["labels"] = labels
            of_class = tuple(np.bincount(labels, minlength=len(self._labels.names)).tolist())
        counts = BlockCounts(
            file=block.file,
            lines=parsed.lines,
            blank=parsed.blank,
            invalid=parsed.invalid,
            first_invalid=parsed.first_invalid,
            empty_documents=empty,
            source_tokens=int(lengths[::2].sum()) if pairs else 0,
            labels=of_class,
            unknown_tokens=self._unknown_tokens(encoded),
        )
        return arrays, counts

    def _parsed(self, block: Block) -> ParsedBlock:
        if self._labels is not None:
            return parse_labelled(block, self._labels)
        if self._layout == "pairs":
            return parse_pairs(block)
        return parse_block(block.data, self._layout)

    def _unknown_tokens(self, encoded: EncodedTexts) -> int:
        """Number of unknown tokens; sources and targets of pairs alternate."""
        source, target = self._encode.unknown_id, self._encode_targets.unknown_id
        if source == target or self._layout != "pairs":
            return int((encoded.tokens == source).sum())
        of_target = np.repeat(np.arange(encoded.lengths.size) % 2 == 1, encoded.lengths)
        return int((encoded.tokens == np.where(of_target, target, source)).sum())

    def _encode_documents(self, documents: list[list[str]]) -> EncodedTexts:
        return self._encode([sentence for document in documents for sentence in document])

    def _encode_pairs(self, pairs: list[list[str]]) -> EncodedTexts:
        sources = self._encode([source for source, _ in pairs])
        return interleave(sources, self._encode_targets([target for _, target in pairs]))


def _shard_name(block: Block) -> str:
    return f"shard-{block.file:05d}-{block.number:06d}"


def write_block(
    encode: BlockTokenizer, block: Block, partial: Path
) -> tuple[ShardInfo, BlockCounts]:
    """Encode a block and write it as one shard of the folder `partial`.

    SHARD.json, with shard info and counts, is renamed into place last: if it exists, so does the
    whole shard.
    """
    arrays, counts = encode(block)
    name = _shard_name(block)
    shard = write_shard(partial / f"{name}.bin", arrays)
    info_file = partial / f"{name}.json"
    unfinished = info_file.with_suffix(".tmp")
    text = json.dumps(
        {"shard": asdict(shard), "counts": asdict(counts), "block": _digest(block.data)}
    )
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(info_file)
    return shard, counts


def finished_shard(partial: Path, block: Block) -> tuple[ShardInfo, BlockCounts] | None:
    """The shard of `block` from a stopped run; None unless it is whole and of the same text."""
    try:
        content = read_bytes(partial / f"{_shard_name(block)}.json", limit=MEGABYTE)
        found = parse_json_as(content, _finished_type())
    except (OSError, FileContentError):
        # Not written yet, truncated by a power cut, or damaged: encode the block again.
        return None
    path = partial / found.shard.file
    if found.block != _digest(block.data) or path.name != f"{_shard_name(block)}.bin":
        return None
    try:
        ShardFile(path, found.shard, store=partial).verify()
    except UserError:
        return None
    return found.shard, found.counts


@dataclass(frozen=True)
class _Finished:
    """SHARD.json: a finished shard of an unfinished store."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    shard: ShardInfo
    counts: BlockCounts
    block: str
    """Checksum of the block's text."""


@cache
def _finished_type() -> TypeAdapter[_Finished]:
    return TypeAdapter(_Finished)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
