"""Index of questions with windows of their contexts.

Devlin et al. 2018, section 4.2: [CLS] question [SEP] context [SEP]. A context that does not fit
into a row is read in several windows, which overlap.

Shapes: Q questions, E windows (examples), D documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ptm.arrays import I64, owner_of, ragged_arange
from ptm.data.documents import Documents
from ptm.data.examples import Examples, TokenSpans
from ptm.store.question_arrays import NOT_LOCATED
from ptm.store.reader import TokenStore

UNKNOWN = -1
"""The answer of a window whose question has none that is in its context."""


@dataclass(frozen=True)
class WindowRanges:
    """Windows of contexts: the question of each (E), its first token in the context, its tokens."""

    question: I64
    offsets: I64
    lengths: I64


def window_ranges(
    question_lengths: I64, context_lengths: I64, *, columns: int, stride: int
) -> WindowRanges:
    """Return windows that cover the context of each question (Q), in order.

    `columns`: tokens of a row without special tokens. A window has the tokens that there is room
    for beside the question. Windows that follow each other share `stride` tokens, as those of
    transformers' tokenizers with this `stride`.
    """
    room = columns - question_lengths
    step = room - stride
    assert (step > 0).all(), "windows must advance"
    further = np.maximum(context_lengths - room, 0)
    counts = 1 + -(-further // step)
    question = owner_of(counts)
    offsets = ragged_arange(counts) * step[question]
    lengths = np.minimum(room[question], context_lengths[question] - offsets)
    return WindowRanges(question, offsets, lengths)


@dataclass(frozen=True)
class QuestionWindows(Examples):
    """Each example is a question and a window of its context.

    `question_starts`, `question_lengths`, `context_starts`, `context_lengths` (E): ranges of tokens
    in the store. `spans` (E, 2): positions in the example of the first and last token of the
    answer; 0, that of [CLS], if the window does not have the whole answer; UNKNOWN if no answer is
    in the context. `questions` (E): number of the question in this index. `offsets` (E): tokens of
    the context before the window. `documents`, `numbers` (Q): the document of each question in the
    store, and its number among the questions of the document. `counts` (4): questions that were
    cut, tokens cut off, questions left out because no answer is in the context, and questions whose
    answer is in the context, but whole in no window.
    """

    question_starts: I64
    question_lengths: I64
    context_starts: I64
    context_lengths: I64
    spans: I64
    questions: I64
    offsets: I64
    documents: I64
    numbers: I64
    counts: I64

    @property
    def lengths(self) -> I64:
        return np.asarray(self.question_lengths) + np.asarray(self.context_lengths)

    @property
    def left_out(self) -> Mapping[str, int]:
        cut, tokens, unknown, split = self.counts.tolist()
        found = {}
        if tokens:
            found[f"tokens cut off (questions longer than max_question_length: {cut:,})"] = tokens
        if unknown:
            found["questions without an answer in their context"] = unknown
        if split:
            found["answers that are whole in no window (see objective.doc_stride)"] = split
        return found

    def texts(self, store: TokenStore, index: I64) -> TokenSpans:
        starts = np.stack([self.question_starts[index], self.context_starts[index]], axis=1)
        parts = np.stack([self.question_lengths[index], self.context_lengths[index]], axis=1)
        tokens = store.tokens(starts.ravel(), parts.ravel())
        return TokenSpans(tokens, parts, None, spans=np.asarray(self.spans[index]))


def question_windows(
    documents: Documents, *, columns: int, stride: int, max_question_length: int, specials: int
) -> QuestionWindows:
    """Return the windows of all questions, in rows of `columns` tokens.

    `specials`: special tokens of an example; one of them is after the context, the others before.
    Questions are cut to `max_question_length` tokens. Those whose answers are not in their contexts
    are left out of the documents to train on, and kept in those to evaluate on.
    """
    sentences = documents.sentences
    context = sentences.first[sentences.owner]
    is_question = np.arange(sentences.counts.sum()) != context
    spans = documents.answer_spans
    unknown = (spans[:, 0] == NOT_LOCATED) & is_question
    chosen = np.flatnonzero(is_question if documents.held_out else is_question & ~unknown)
    of_context, spans = context[chosen], spans[chosen]
    question_lengths = np.minimum(sentences.lengths[chosen], max_question_length)
    removed = sentences.lengths[chosen] - question_lengths
    windows = window_ranges(
        question_lengths,
        sentences.lengths[of_context],
        columns=columns - specials,
        stride=stride,
    )
    question = windows.question
    first, last = spans[question].T
    inside = (first >= windows.offsets) & (last < windows.offsets + windows.lengths)
    before = question_lengths[question] + specials - 1 - windows.offsets
    found = np.where(inside[:, None], spans[question] + before[:, None], 0)
    found[first == NOT_LOCATED] = UNKNOWN
    whole = np.bincount(question[found[:, 0] > 0], minlength=chosen.size) > 0
    return QuestionWindows(
        question_starts=sentences.starts[chosen][question],
        question_lengths=question_lengths[question],
        context_starts=sentences.starts[of_context][question] + windows.offsets,
        context_lengths=windows.lengths,
        spans=found,
        questions=question,
        offsets=windows.offsets,
        documents=documents.indexes[sentences.owner[chosen]],
        numbers=chosen - of_context - 1,
        counts=np.array(
            [
                np.count_nonzero(removed),
                removed.sum(),
                0 if documents.held_out else np.count_nonzero(unknown),
                np.count_nonzero((spans[:, 0] >= 0) & ~whole),
            ],
            dtype=np.int64,
        ),
    )
