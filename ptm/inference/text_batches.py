"""Texts as model inputs: token ids with special tokens, in padded batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ptm.errors import UserError
from ptm.text.tokenizers import Tokenizer

_MASKED = ("cls", "sep")
"""Roles of the special tokens around a text in which masks are predicted."""
_TOKENS_PER_BATCH = 8192
"""Maximum number of tokens per batch, padding included."""


@dataclass(frozen=True)
class TextBatch:
    """A batch of texts: their indices in the list (`text_indices`) and token counts (`lengths`)."""

    text_indices: tuple[int, ...]
    lengths: tuple[int, ...]
    tensors: dict[str, Tensor]


def read_texts(
    texts: Sequence[str],
    tokenizer: Tokenizer,
    *,
    places: Sequence[str],
    longest: int | None,
    boundary_roles: tuple[str | None, str | None] = _MASKED,
) -> list[list[int]]:
    """Tokenise each text and add the special tokens of `boundary_roles` around it.

    Between [CLS] and [SEP] mask tokens are recognised, otherwise all special tokens. Raises
    UserError naming the text's place if it is not valid UTF-8, has no token or has more than
    `longest` tokens.
    """
    encode = tokenizer.encode_with_masks
    if boundary_roles != _MASKED:
        encode = partial(_encode_between, tokenizer, boundary_roles)
    found = []
    for text, place in zip(texts, places, strict=True):
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UserError(
                f"{place.encode('utf-8', 'replace').decode()}: the text is not valid UTF-8 at "
                f"character {error.start}."
            ) from error
        ids = encode(text)
        if not ids:
            raise UserError(f"{place}: the text has no tokens. Give another text.")
        if longest is not None and len(ids) > longest:
            raise UserError(
                f"{place}: the text has {len(ids)} tokens including special tokens; the model "
                f"reads at most {longest}. Shorten the text."
            )
        found.append(ids)
    return found


def _encode_between(
    tokenizer: Tokenizer, boundary_roles: tuple[str | None, str | None], text: str
) -> list[int]:
    start, end = boundary_roles
    vocabulary = tokenizer.vocabulary
    before = [vocabulary.special_id(start)] if start and vocabulary.has(start) else []
    after = [vocabulary.special_id(end)] if end else []
    return [*before, *tokenizer.encode_with_specials(text), *after]


def quoted(text: str) -> str:
    """Quote a text, shortened to 40 characters, to name it in messages."""
    return f'"{text}"' if len(text) <= 40 else f'"{text[:37]}..."'


def text_batches(
    texts: Sequence[Sequence[int]], *, pad: int, padded: bool = True
) -> Iterator[TextBatch]:
    """Yield all `texts` (token ids) as batches of tensors (B, T), longest first.

    Texts of similar length share a batch. With `padded=False` all texts of a batch have the same
    length, for encoders that would read padding as text.
    """
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number]))
    while order:
        longest = len(texts[order[0]])
        chosen = order[: max(1, _TOKENS_PER_BATCH // longest)]
        if not padded:
            chosen = [number for number in chosen if len(texts[number]) == longest]
        order = order[len(chosen) :]
        yield _batch([texts[number] for number in chosen], tuple(chosen), pad)


def _batch(texts: Sequence[Sequence[int]], indices: tuple[int, ...], pad: int) -> TextBatch:
    # real (B, T): where row i has a token, not padding.
    lengths = np.array([len(ids) for ids in texts])
    position = np.arange(lengths.max())
    real = position < lengths[:, None]
    ids = np.full(real.shape, pad, dtype=np.int64)
    ids[real] = np.concatenate([np.asarray(one, dtype=np.int64) for one in texts])
    ones = torch.from_numpy(real.astype(np.int64))
    tensors = {
        "input_ids": torch.from_numpy(ids),
        "position_ids": torch.from_numpy(np.where(real, position, 0)),
        "segment_ids": ones,
        "example_ids": ones,
    }
    return TextBatch(indices, tuple(lengths.tolist()), tensors)
