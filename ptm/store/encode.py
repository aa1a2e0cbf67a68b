"""Turns blocks of a corpus into the shards of a store.

Shape letters: T tokens, S sentences (or other texts), D documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from ptm.arrays import I64, exclusive_cumsum, owner_of, ragged_ranges
from ptm.errors import UserError
from ptm.store.question_arrays import (
    QuestionArrays,
    QuestionCounts,
    question_arrays,
    total_question_counts,
)
from ptm.store.sections import document_hashes, in_smallest_type
from ptm.store.texts import (
    CharacterSpans,
    EncodedTexts,
    TextTokenizer,
    interleave,
    whole_documents,
)
from ptm.text.choices import UNLABELLED
from ptm.text.corpus import Block, Layout, ParsedBlock
from ptm.text.corpus.parse import parse
from ptm.text.corpus.pieces import pieces
from ptm.text.labels import LabelSet
from ptm.text.segmenters import Segmenter
from ptm.text.sentences import split_sentences
from ptm.text.tags import TagSet
from ptm.text.tokenizers import TokenizerConfig


@dataclass(frozen=True)
class BlockCounts:
    """Counts of one block."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    file: int
    """Index of the file in the corpus."""
    lines: int
    blank: int
    invalid: int
    """Lines and records that were left out because they are damaged."""
    first_invalid: int | None
    """Index in the block, from 0, of the first line (or row) that was left out."""
    empty_documents: int
    """Documents without tokens, and pairs with a side without tokens; they are left out."""
    text_bytes: int
    """Bytes of the documents' text in UTF-8, without line ends."""
    source_tokens: int = 0
    """Tokens of the sources, with layout `pairs`."""
    labels: tuple[int, ...] = ()
    """Documents of each class, with layout `labelled`; words of each tag, with `tagged`."""
    unknown_tokens: int = 0
    ignored: int = 0
    """Examples that were left out because of their label."""
    problem: str = ""
    """What is wrong with the first line that was left out; "" if it cannot be decoded."""
    words_without_tokens: int = 0
    """Words that became the unknown token because the tokenizer has no token for them, with layout
    `tagged`."""
    repaired_tags: int = 0
    """Tags that broke the rules of their scheme, with layout `tagged`."""
    first_repaired: int | None = None
    """Index in the block, from 0, of the line with the first of them."""
    answers: QuestionCounts | None = None
    """With layout `questions`."""
    most_choices: int = 0
    """The most choices of a question, with layout `choices`."""


def _total_counts(parts: Sequence[BlockCounts]) -> BlockCounts:
    """The counts of a block from those of its pieces, in order."""
    first_invalid, first_repaired, lines, problem = None, None, 0, ""
    for part in parts:
        if first_repaired is None and part.first_repaired is not None:
            first_repaired = lines + part.first_repaired
        if first_invalid is None and part.first_invalid is not None:
            first_invalid, problem = lines + part.first_invalid, part.problem
        lines += part.lines
    answers = [part.answers for part in parts if part.answers is not None]
    return BlockCounts(
        file=parts[0].file,
        lines=lines,
        blank=sum(part.blank for part in parts),
        invalid=sum(part.invalid for part in parts),
        first_invalid=first_invalid,
        empty_documents=sum(part.empty_documents for part in parts),
        source_tokens=sum(part.source_tokens for part in parts),
        labels=tuple(map(sum, zip(*(part.labels for part in parts), strict=True))),
        unknown_tokens=sum(part.unknown_tokens for part in parts),
        ignored=sum(part.ignored for part in parts),
        text_bytes=sum(part.text_bytes for part in parts),
        problem=problem,
        words_without_tokens=sum(part.words_without_tokens for part in parts),
        repaired_tags=sum(part.repaired_tags for part in parts),
        first_repaired=first_repaired,
        answers=total_question_counts(answers) if answers else None,
        most_choices=max(part.most_choices for part in parts),
    )


@dataclass(frozen=True)
class _EncodedPiece:
    """The documents of a piece of a block that have tokens."""

    encoded: EncodedTexts
    """Their sentences, none of them empty."""
    documents: I64
    """Sentences per document (D)."""
    labels: NDArray[np.int32]
    """Class index of each document (D), with layout `labelled`; empty with any other. See also
    `label_counts`."""
    counts: BlockCounts
    tags: I64 | None = None
    """The tag of each token (see `ptm.store.sections`), with layout `tagged`."""
    answers: QuestionArrays | None = None
    """With layout `questions`."""
    label_counts: I64 | None = None
    """The number of labels of each document (D), if it may have several: `labels` has those of all
    documents."""


def _text_bytes(parsed: ParsedBlock) -> int:
    # All texts at once, which is several times as fast as one by one.
    return len("".join(text for document in parsed.documents for text in document).encode())


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

        `labels`: those of layout `labelled`; a TagSet with layout `tagged`.
        """
        has_words = layout not in ("pairs", "triplets", "tagged", "questions", "choices")
        assert segmenter is None or has_words, f"word starts are not supported for {layout}"
        declares = layout in ("labelled", "tagged")
        assert (labels is not None) == declares, "labels belong to layout labelled or tagged"
        assert isinstance(labels, TagSet) == (layout == "tagged"), "tags belong to layout tagged"
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
        """Return the arrays of the block's shard (see `ptm.store.sections`) and its counts."""
        parts = [self._encode_piece(piece) for piece in pieces(block, self._layout)]
        tokens = np.concatenate([part.encoded.tokens for part in parts])
        lengths = np.concatenate([part.encoded.lengths for part in parts])
        documents = np.concatenate([part.documents for part in parts])
        ends_in_tokens = np.cumsum(lengths)[np.cumsum(documents) - 1]
        arrays: dict[str, NDArray[Any]] = {
            "tokens": tokens,
            "sentence_lengths": in_smallest_type(lengths),
            "document_lengths": in_smallest_type(documents),
            "document_hashes": document_hashes(tokens, ends_in_tokens),
        }
        starts = [
            part.encoded.word_starts for part in parts if part.encoded.word_starts is not None
        ]
        if starts:
            arrays["word_starts"] = np.packbits(np.concatenate(starts))
        several = [part.label_counts for part in parts if part.label_counts is not None]
        if self._layout in ("labelled", "choices") and not several:
            arrays["labels"] = np.concatenate([part.labels for part in parts])
        if isinstance(self._labels, TagSet):
            # Of the same type in every shard, whatever tags occur in it.
            dtype = np.min_scalar_type(len(self._labels.names))
            tags = [part.tags for part in parts if part.tags is not None]
            arrays["tags"] = np.concatenate(tags).astype(dtype)
        answers = [part.answers for part in parts if part.answers is not None]
        if answers:
            arrays |= QuestionArrays.joined(answers).sections()
        if several:
            arrays["integer_counts"] = in_smallest_type(np.concatenate(several))
            arrays["integers"] = np.concatenate([part.labels for part in parts])
        return arrays, _total_counts([part.counts for part in parts])

    def _encode_piece(self, piece: Block) -> _EncodedPiece:
        parsed = self.parse(piece)
        if isinstance(self._labels, TagSet):
            return self._encode_tagged(piece, parsed, self._labels)
        if self._layout == "questions":
            return self._encode_questions(piece, parsed)
        if self._layout == "choices":
            return self._encode_choices(piece, parsed)
        texts = parsed.documents
        if self._splits:
            texts = [split_sentences(line) for document in texts for line in document]
        # A pair has both its texts or none.
        pairs = self._layout == "pairs"
        together = pairs or (self._labels is not None and len(texts) > 0 and len(texts[0]) == 2)
        encoded = self._encode_pairs(texts) if together else self._encode_documents(texts)
        # Sentences per document (D), and the document of each sentence (S).
        documents = np.array([len(document) for document in texts], dtype=np.int64)
        if self._layout == "triplets":
            encoded = whole_documents(encoded, documents)
        owner = np.repeat(np.arange(len(documents)), documents)
        # Sentences without tokens, such as zero-width characters alone, are left out; so are
        # documents without a sentence that has tokens.
        documents = np.bincount(owner[encoded.lengths > 0], minlength=len(documents))
        lengths = encoded.lengths[encoded.lengths > 0]
        labels = np.empty(0, np.int32)
        label_counts = None
        of_class: tuple[int, ...] = ()
        if self._labels is not None:
            kept = documents > 0
            if parsed.label_counts is not None:
                label_counts = np.array(parsed.label_counts, dtype=np.int64)
                kept, label_counts = np.repeat(kept, label_counts), label_counts[kept]
            labels = np.array(parsed.labels, dtype=np.int32)[kept]
            of_class = tuple(self._labels.counts(labels))
        counts = BlockCounts(
            file=piece.file,
            lines=parsed.lines,
            blank=parsed.blank,
            invalid=parsed.invalid,
            first_invalid=parsed.first_invalid,
            empty_documents=int((documents == 0).sum()),
            text_bytes=_text_bytes(parsed),
            source_tokens=int(lengths[::2].sum()) if pairs else 0,
            labels=of_class,
            unknown_tokens=self._unknown_tokens(encoded),
            problem=parsed.problem,
            ignored=parsed.ignored,
        )
        encoded = replace(encoded, lengths=lengths)
        return _EncodedPiece(
            encoded, documents[documents > 0], labels, counts, label_counts=label_counts
        )

    def _encode_tagged(self, piece: Block, parsed: ParsedBlock, tags: TagSet) -> _EncodedPiece:
        """Tokenise each word by itself. Its tag belongs to the first of its tokens."""
        words = [word for sentence in parsed.documents for word in sentence]
        encoded, without = self._encode.words(words)
        firsts = exclusive_cumsum(encoded.lengths)
        labels = np.array(parsed.labels, dtype=np.int64)
        of_tokens = np.zeros(encoded.tokens.size, dtype=np.int64)
        of_tokens[firsts] = labels + 1
        counts = np.array([len(sentence) for sentence in parsed.documents], dtype=np.int64)
        # Tokens per sentence: every sentence has a word, and every word a token.
        starts = firsts[exclusive_cumsum(counts)]
        lengths = np.diff(starts, append=encoded.tokens.size)
        return _EncodedPiece(
            replace(encoded, lengths=lengths),
            np.ones(counts.size, dtype=np.int64),
            np.empty(0, np.int32),
            BlockCounts(
                file=piece.file,
                lines=parsed.lines,
                blank=parsed.blank,
                invalid=parsed.invalid,
                first_invalid=parsed.first_invalid,
                empty_documents=0,
                text_bytes=_text_bytes(parsed),
                labels=tuple(np.bincount(labels, minlength=len(tags.names)).tolist()),
                unknown_tokens=self._unknown_tokens(encoded),
                problem=parsed.problem,
                words_without_tokens=without,
                repaired_tags=parsed.repaired,
                first_repaired=parsed.first_repaired,
            ),
            of_tokens,
        )

    def _encode_questions(self, piece: Block, parsed: ParsedBlock) -> _EncodedPiece:
        """Tokenise contexts and questions. Those without tokens are left out."""
        texts = [text for document in parsed.documents for text in document]
        encoded, characters = self._encode.with_characters(texts)
        documents = np.array([len(document) for document in parsed.documents], dtype=np.int64)
        has_tokens = encoded.lengths > 0
        # A document without tokens in its context, or in all its questions, is left out.
        kept = has_tokens & np.repeat(has_tokens[exclusive_cumsum(documents)], documents)
        owner = owner_of(documents)
        count = np.bincount(owner[kept], minlength=documents.size)
        kept &= count[owner] > 1
        at = ragged_ranges(exclusive_cumsum(encoded.lengths)[kept], encoded.lengths[kept])
        lengths = encoded.lengths[kept]
        characters = CharacterSpans(characters.starts[at], characters.ends[at])
        sentences = iter(kept.tolist())
        kept_texts, kept_questions = [], []
        for document, some in zip(parsed.documents, parsed.questions or [], strict=True):
            flags = [next(sentences) for _ in document]
            if flags[0]:
                kept_texts.append([t for t, keeps in zip(document, flags, strict=True) if keeps])
                kept_questions.append(
                    [one for one, keeps in zip(some, flags[1:], strict=True) if keeps]
                )
        answers, counts = question_arrays(kept_texts, kept_questions, lengths, characters)
        encoded = EncodedTexts(encoded.tokens[at], lengths)
        return _EncodedPiece(
            encoded,
            np.bincount(owner[kept], minlength=documents.size)[count > 1],
            np.empty(0, np.int32),
            BlockCounts(
                file=piece.file,
                lines=parsed.lines,
                blank=parsed.blank,
                invalid=parsed.invalid,
                first_invalid=parsed.first_invalid,
                empty_documents=int((~kept).sum()),
                text_bytes=_text_bytes(parsed),
                unknown_tokens=self._unknown_tokens(encoded),
                problem=parsed.problem,
                answers=counts,
            ),
            answers=answers,
        )

    def _encode_choices(self, piece: Block, parsed: ParsedBlock) -> _EncodedPiece:
        """Tokenise contexts and choices. A question with one that has no tokens is left out."""
        unlabelled = [one for one in parsed.choices or [] if one.answer == UNLABELLED]
        if unlabelled:
            raise UserError(
                f"{unlabelled[0].place}: the question has no answer, but training and evaluation "
                "need one. Files without answers are for `ptm predict`."
            )
        encoded = self._encode_documents(parsed.documents)
        documents = np.array([len(document) for document in parsed.documents], dtype=np.int64)
        owner = owner_of(documents)
        whole = np.bincount(owner[encoded.lengths == 0], minlength=documents.size) == 0
        kept = whole[owner]
        at = ragged_ranges(exclusive_cumsum(encoded.lengths)[kept], encoded.lengths[kept])
        return _EncodedPiece(
            EncodedTexts(encoded.tokens[at], encoded.lengths[kept]),
            documents[whole],
            np.array(parsed.labels, dtype=np.int32)[whole],
            BlockCounts(
                file=piece.file,
                lines=parsed.lines,
                blank=parsed.blank,
                invalid=parsed.invalid,
                first_invalid=parsed.first_invalid,
                empty_documents=int((~whole).sum()),
                text_bytes=_text_bytes(parsed),
                unknown_tokens=self._unknown_tokens(encoded),
                problem=parsed.problem,
                most_choices=int(documents[whole].max(initial=1)) - 1,
            ),
        )

    def parse(self, block: Block) -> ParsedBlock:
        """Return the documents of the block as text, before they are split into sentences."""
        return parse(block, self._layout, self._labels)

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
