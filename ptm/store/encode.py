"""Lines become token ids, and blocks of a corpus the shards of a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptm.arrays import I64, exclusive_cumsum, ragged_ranges
from ptm.store.format import ShardInfo, document_hashes, shard_from_json, write_shard
from ptm.text.corpus import Block, Layout, parse_block
from ptm.text.pair_lines import parse_pairs
from ptm.text.segmenters import Segmenter
from ptm.text.sentences import split_sentences
from ptm.text.tokenizers import Tokenizer, TokenizerConfig
from ptm.text.words import WordFinder

_CHARACTERS_A_CALL = 2**18
"""Characters handed to the tokenizer at once: bounds the memory of its results."""


@dataclass(frozen=True)
class EncodedTexts:
    """The tokens of texts, one after another: `lengths` tokens a text.

    `word_starts`: for every token whether it begins a word, where that is wanted.
    """

    tokens: NDArray[Any]
    lengths: I64
    word_starts: NDArray[np.bool_] | None = None


class TextEncoder:
    """Turns texts into tokens of `dtype`, and finds their words where there is a segmenter."""

    def __init__(
        self, tokenizer: Tokenizer, segmenter: Segmenter | None, dtype: type[np.unsignedinteger]
    ) -> None:
        self._tokenizer = tokenizer
        self._words = WordFinder(tokenizer, segmenter) if segmenter else None
        self._dtype = dtype

    def __call__(self, texts: Sequence[str]) -> EncodedTexts:
        """The tokens of all `texts`."""
        ids: list[NDArray[Any]] = [np.empty(0, self._dtype)]
        starts: list[NDArray[np.bool_]] = [np.empty(0, bool)]
        lengths: list[int] = []
        for batch in _batches(texts, _CHARACTERS_A_CALL):
            if self._words is not None:
                found = self._words.encode(batch)
                ids += [tokens.astype(self._dtype) for tokens, _ in found]
                starts += [begins for _, begins in found]
                lengths += [len(tokens) for tokens, _ in found]
            else:
                encoded = self._tokenizer.encode(batch)
                ids += [np.array(tokens, dtype=self._dtype) for tokens in encoded]
                lengths += [len(tokens) for tokens in encoded]
        return EncodedTexts(
            np.concatenate(ids),
            np.array(lengths, dtype=np.int64),
            np.concatenate(starts) if self._words is not None else None,
        )


def interleaved(sources: EncodedTexts, targets: EncodedTexts) -> EncodedTexts:
    """Source, target, source, target …; both or neither of a pair: one without text goes whole."""
    whole = (sources.lengths > 0) & (targets.lengths > 0)
    begins = [exclusive_cumsum(side.lengths) for side in (sources, targets)]
    starts = np.stack([begins[0], begins[1] + sources.tokens.size], axis=1)[whole].ravel()
    lengths = np.stack([sources.lengths, targets.lengths], axis=1)
    tokens = np.concatenate([sources.tokens, targets.tokens])
    kept = tokens[ragged_ranges(starts, lengths[whole].ravel())]
    lengths[~whole] = 0
    return EncodedTexts(kept, lengths.ravel())


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
class Counts:
    """What one block held. `lines` and `first_invalid` give line numbers in the file."""

    file: int
    lines: int
    blank: int
    invalid: int
    first_invalid: int | None
    empty_documents: int
    """Documents without text, and pairs with a side without text: they are left out."""
    source_tokens: int = 0
    """Of pairs: those of the sources."""


class BlockEncoder:
    """Turns the bytes of a block into the arrays of a shard."""

    def __init__(
        self,
        tokenizer: TokenizerConfig,
        segmenter: Segmenter | None,
        layout: Layout,
        *,
        sentence_splitting: bool,
        target_tokenizer: TokenizerConfig | None = None,
    ) -> None:
        """`target_tokenizer`: of the targets in the layout `pairs`; the same if left out."""
        assert segmenter is None or layout != "pairs", "pairs have no word starts"
        source = tokenizer.load()
        target = target_tokenizer.load(key="target_tokenizer") if target_tokenizer else source
        largest = max(source.vocabulary.size, target.vocabulary.size)
        dtype = np.uint16 if largest <= 2**16 else np.uint32
        self._encode = TextEncoder(source, segmenter, dtype)
        self._encode_targets = TextEncoder(target, None, dtype)
        self._layout = layout
        self._splits = sentence_splitting

    def __call__(self, block: Block) -> tuple[dict[str, NDArray[Any]], Counts]:
        """The arrays of the block's shard, and what was met on the way."""
        pairs = self._layout == "pairs"
        parsed = parse_pairs(block) if pairs else parse_block(block.data, self._layout)
        texts = parsed.documents
        if self._splits:
            texts = [split_sentences(line) for document in texts for line in document]
        encoded = self._encode_pairs(texts) if pairs else self._encode_documents(texts)
        tokens, lengths, starts = encoded.tokens, encoded.lengths, encoded.word_starts
        documents = np.array([len(document) for document in texts], dtype=np.int64)
        owner = np.repeat(np.arange(len(documents)), documents)
        # Sentences (and documents) that hold only what the tokenizer drops have no tokens.
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
        counts = Counts(
            file=block.file,
            lines=parsed.lines,
            blank=parsed.blank,
            invalid=parsed.invalid,
            first_invalid=parsed.first_invalid,
            empty_documents=empty,
            source_tokens=int(lengths[::2].sum()) if pairs else 0,
        )
        return arrays, counts

    def _encode_documents(self, documents: list[list[str]]) -> EncodedTexts:
        return self._encode([sentence for document in documents for sentence in document])

    def _encode_pairs(self, pairs: list[list[str]]) -> EncodedTexts:
        sources = self._encode([source for source, _ in pairs])
        return interleaved(sources, self._encode_targets([target for _, target in pairs]))


def _shard_name(block: Block) -> str:
    return f"shard-{block.file:05d}-{block.number:06d}"


def write_block(encode: BlockEncoder, block: Block, partial: Path) -> tuple[ShardInfo, Counts]:
    """Encode and write one shard; its note is renamed into place last, so it is whole or absent."""
    arrays, counts = encode(block)
    name = _shard_name(block)
    shard = write_shard(partial / f"{name}.bin", arrays)
    note = partial / f"{name}.json"
    unfinished = note.with_suffix(".tmp")
    text = json.dumps(
        {"shard": asdict(shard), "counts": asdict(counts), "block": _digest(block.data)}
    )
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(note)
    return shard, counts


def finished_shard(partial: Path, block: Block) -> tuple[ShardInfo, Counts] | None:
    """The shard of `block` that a stopped run left whole, if it is the same text."""
    note = partial / f"{_shard_name(block)}.json"
    if not note.exists():
        return None
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
        shard = shard_from_json(data["shard"])
    except (ValueError, KeyError, TypeError):
        # Torn by a power cut: the block is encoded again.
        return None
    path = partial / shard.file
    whole = path.exists() and path.stat().st_size == shard.bytes
    if not whole or data["block"] != _digest(block.data):
        return None
    return shard, Counts(**data["counts"])


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
