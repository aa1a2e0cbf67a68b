"""Totals of the blocks of a corpus: for the manifest of a store, and checked for wrong corpora."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from ptm.counted import counted
from ptm.errors import UserError
from ptm.store.encode import BlockCounts
from ptm.store.question_arrays import total_question_counts
from ptm.text.corpus import CorpusFile, Layout, check_invalid
from ptm.text.corpus.blocks import place_in
from ptm.text.corpus.checks import InvalidLines
from ptm.text.labels import LabelSet

logger = logging.getLogger(__name__)

_MANY_LINES = 1000
"""A document of this many lines, without a second one, means that empty lines are missing."""


def label_counts(labels: LabelSet | None, counts: Sequence[BlockCounts]) -> dict[str, int] | None:
    """The number of documents (or words) per label, in the order of the classes.

    None without labels.
    """
    if labels is None:
        return None
    totals = np.array([c.labels for c in counts]).sum(axis=0).tolist()
    return dict(zip(labels.names, totals, strict=True))


def totals(counts: Sequence[BlockCounts], *, pairs_of: int | None, tagged: bool) -> dict[str, int]:
    """The manifest's `report`. `pairs_of`: the number of tokens with layout `pairs`, else None."""
    lines = {
        "lines": sum(c.lines for c in counts),
        "blank_lines": sum(c.blank for c in counts),
        "invalid_lines": sum(c.invalid for c in counts),
        "text_bytes": sum(c.text_bytes for c in counts),
        "unknown_tokens": sum(c.unknown_tokens for c in counts),
    }
    ignored = sum(c.ignored for c in counts)
    if ignored:
        lines["ignored_labels"] = ignored
    if tagged:
        return {
            **lines,
            "words": sum(sum(c.labels) for c in counts),
            "words_without_tokens": sum(c.words_without_tokens for c in counts),
            "repaired_tags": sum(c.repaired_tags for c in counts),
        }
    empty = sum(c.empty_documents for c in counts)
    answers = [c.answers for c in counts if c.answers is not None]
    if answers:
        found = total_question_counts(answers)
        return {
            **lines,
            "texts_without_tokens": empty,
            "questions": found.questions,
            "unanswerable_questions": found.unanswerable,
            "answers_moved": found.moved,
            "answers_not_in_context": found.not_located,
            "answers_inside_tokens": found.inside_tokens,
        }
    most = max((c.most_choices for c in counts), default=0)
    if most:
        return {**lines, "questions_without_tokens": empty, "most_choices": most}
    if pairs_of is None:
        return {**lines, "empty_documents": empty}
    sources = sum(c.source_tokens for c in counts)
    sides = {"source_tokens": sources, "target_tokens": pairs_of - sources}
    return {**lines, "pairs_with_an_empty_side": empty, **sides}


def check_corpus(
    corpus: Sequence[CorpusFile],
    counts: Sequence[BlockCounts],
    *,
    tokens: int,
    documents: int,
    layout: Layout,
) -> None:
    """Raise UserError if a file has too many damaged lines or the corpus has no text.

    Also if it is a single document (or sentence of CoNLL) of many lines. Logs which lines were left
    out.
    """
    of_file: dict[int, list[BlockCounts]] = {}
    for one in counts:
        of_file.setdefault(one.file, []).append(one)
    for index, file in enumerate(corpus):
        blocks = of_file.get(index, [])
        for note in (
            check_invalid(file, _invalid_lines(blocks)),
            _repair_note(file, blocks),
            *_answer_notes(file, blocks),
        ):
            if note is not None:
                logger.warning("%s", note)
    if tokens == 0:
        paths = ", ".join(file.path for file in corpus)
        empty = sum(c.empty_documents for c in counts)
        if layout == "pairs" and empty:
            raise UserError(f"{paths}: none of the {empty:,} pairs has text on both sides.")
        if layout == "labelled":
            raise UserError(f"{paths}: the corpus contains no labelled text.")
        if layout == "triplets":
            raise UserError(f"{paths}: the corpus contains no triplet.")
        if layout == "tagged":
            raise UserError(f"{paths}: the corpus contains no tagged word.")
        if layout in ("questions", "choices"):
            raise UserError(f"{paths}: the corpus contains no question.")
        raise UserError(f"{paths}: the corpus contains no text, only blank lines.")
    lines = sum(c.lines - c.blank for c in counts)
    if documents == 1 and lines >= _MANY_LINES:
        _check_document_ends(corpus, layout, lines)


def _check_document_ends(corpus: Sequence[CorpusFile], layout: Layout, lines: int) -> None:
    """Raise UserError if the corpus is one document only because no empty line ends another."""
    formats = {file.format for file in corpus}
    if layout == "sentences" and formats == {"text"}:
        raise UserError(
            f"{corpus[0].path}: the {lines:,} lines of the corpus are one document, because with "
            "data.layout: sentences an empty line ends a document, but none was found. If each "
            "line is a document, set data.layout: documents."
        )
    if layout == "tagged" and formats == {"conll"}:
        raise UserError(
            f"{corpus[0].path}: the {lines:,} lines of the corpus are one sentence, because with "
            "data.format: conll an empty line ends a sentence, but none was found. Put an empty "
            "line after each sentence."
        )


def _repair_note(file: CorpusFile, counts: Sequence[BlockCounts]) -> str | None:
    """A sentence on the repaired tags of a file; None if no tag was repaired."""
    repaired, lines = sum(block.repaired_tags for block in counts), 0
    if not repaired:
        return None
    for block in counts:
        if block.first_repaired is not None:
            first = place_in(file.path, file.format, lines + block.first_repaired + 1)
            return (
                f"{file.path}: {counted(repaired, 'tag')} broke the rules of objective.scheme and "
                f"{'was' if repaired == 1 else 'were'} repaired; the first is {first}. The "
                "entities stay those that seqeval reads: a tag that continues no entity of its "
                "type begins one"
            )
        lines += block.lines
    raise AssertionError("a block with repaired tags has a first one")


def _answer_notes(file: CorpusFile, counts: Sequence[BlockCounts]) -> Iterator[str]:
    """Sentences on the answers of a file that are not in their contexts, or elsewhere in them.

    Raises UserError if no answer at all is in its context.
    """
    found = total_question_counts([c.answers for c in counts if c.answers is not None])
    if found.moved:
        yield (
            f"{file.path}: {found.moved:,} of {found.questions:,} answers are not at their "
            "answer_start; the nearest occurrence in the context is used"
        )
    if not found.not_located:
        return
    first = "; ".join(found.first_not_located)
    if found.not_located == found.questions:
        raise UserError(
            f"{file.path}: none of the {found.questions:,} answers is in its context; the first: "
            f"{first}. Training and evaluation need answers that are spans of the context; files "
            "without answers are for `ptm predict`."
        )
    yield (
        f"{file.path}: {found.not_located:,} of {found.questions:,} questions have no answer that "
        f"is in its context, so training leaves them out; the first: {first}"
    )


def _invalid_lines(counts: Sequence[BlockCounts]) -> InvalidLines:
    """The lines of a file that were left out; `counts` are those of its blocks, in order."""
    lines, first, problem = 0, 0, ""
    for block in counts:
        if block.first_invalid is not None and not first:
            first, problem = lines + block.first_invalid + 1, block.problem
        lines += block.lines
    return InvalidLines(lines, sum(block.invalid for block in counts), first, problem)
