"""What masked language models fill in: a text with numbered gaps, and the token of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from ptm.text.tokenizers import Tokenizer
from ptm.train.samples.base import TOKENS_SHOWN, Infer, Sampler
from ptm.train.samples.record import Sample, gap

_FIRST_UNSPACED = "\u2e80"
"""Scripts from this code point on are mostly written without spaces."""


class MaskedSampler(Sampler):
    """Fills the places that the objective predicts, with the masks of every evaluation."""

    types: ClassVar[tuple[str, ...]] = ("mlm", "bert", "albert", "distil")

    def sample(self, infer: Infer) -> list[Sample]:
        size = self.rows.vocabularies.source.size

        def most_likely(
            outputs: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
        ) -> dict[str, Tensor]:
            # Rows of the output layer beyond the vocabulary have no token.
            return {"predicted": outputs["logits"][:, :size].argmax(dim=-1)}

        predicted = infer(self.batch, most_likely)["predicted"]
        cells, true = (
            self.batch.tensors[name] for name in ("predicted_positions", "predicted_ids")
        )
        columns = self.batch.tensors["input_ids"].shape[1]
        samples = []
        for row in range(self.batch.rows):
            mine = np.flatnonzero(cells // columns == row)
            gaps = {
                int(cells[at]) - row * columns: (int(true[at]), int(predicted[at])) for at in mine
            }
            samples.append(self._sample(self.token_ids(row), gaps))
        return samples

    def _sample(self, ids: list[int], gaps: Mapping[int, tuple[int, int]]) -> Sample:
        """`gaps`: column -> the true and the predicted token."""
        tokenizer = self.tokenizers.source
        special = tokenizer.vocabulary.is_special
        ends = len(ids) - 1 in gaps or not special[ids[-1]]
        begins = 0 in gaps or not special[ids[0]]
        inner = range(0 if begins else 1, len(ids) if ends else len(ids) - 1)
        shown = inner[:TOKENS_SHOWN]
        here = [column for column in shown if column in gaps]
        original = [gaps[column][0] if column in gaps else ids[column] for column in shown]
        text = with_gaps(tokenizer, original, [column - shown.start for column in here])
        return Sample(
            text=f"{text}…" if len(inner) > len(shown) else text,
            expected=tuple(token_text(tokenizer, gaps[column][0]) for column in here),
            predicted=tuple(token_text(tokenizer, gaps[column][1]) for column in here),
            has_gaps=True,
        )


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """A token as text: decoded, or as it is in the vocabulary if that is empty or within a word."""
    written = tokenizer.vocabulary.tokens[token]
    if tokenizer.config.continues_word(written) and written.startswith("##"):
        return written
    return tokenizer.decode([token]).strip() or written


def with_gaps(tokenizer: Tokenizer, ids: list[int], gaps: list[int]) -> str:
    """The text of `ids` with a number in place of each token whose index is in `gaps`."""
    text, begin = "", 0
    for number, at in enumerate(gaps, start=1):
        text = _joined(tokenizer, text, ids[begin:at])
        spaced = (
            _is_spaced(text[-1:]) and not text.endswith("⟩") and _starts_word(tokenizer, ids[at])
        )
        text += f" {gap(number)}" if spaced else gap(number)
        begin = at + 1
    return _joined(tokenizer, text, ids[begin:])


def _joined(tokenizer: Tokenizer, text: str, ids: list[int]) -> str:
    """`text`, which ends with a gap or is empty, and the text of `ids`."""
    if not ids:
        return text
    part = tokenizer.decode(ids)
    spaced = (
        text and part[:1].isalnum() and _is_spaced(part[:1]) and _starts_word(tokenizer, ids[0])
    )
    return f"{text} {part}" if spaced else text + part


def _starts_word(tokenizer: Tokenizer, token: int) -> bool:
    return not tokenizer.config.continues_word(tokenizer.vocabulary.tokens[token])


def _is_spaced(character: str) -> bool:
    """Whether the character belongs to a script with spaces between words."""
    return bool(character.strip()) and character < _FIRST_UNSPACED
