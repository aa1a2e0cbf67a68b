"""SentencePiece `.model` files: reading, writing, and their equivalent `tokenizers` pipelines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import tokenizers
from sentencepiece import SentencePieceProcessor, sentencepiece_model_pb2
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ptm.errors import UserError
from ptm.files.user_files import read_bytes
from ptm.limits import MOST_TEXT_BYTES
from ptm.text.tokenizers.charsmap import first_mapped_otherwise, mapping_steps

SPACE = "▁"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)
_UNIGRAM, _BPE = 1, 2


@dataclass(frozen=True)
class SentencePieceFile:
    """A SentencePiece model file."""

    path: str
    data: bytes

    @cached_property
    def proto(self) -> Any:
        """The file as a parsed `ModelProto` message."""
        message = sentencepiece_model_pb2.ModelProto()
        message.ParseFromString(self.data)
        return message

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The pieces, in the order of the file's ids."""
        return tuple(piece.piece for piece in self.proto.pieces)

    @property
    def unknown(self) -> int:
        """Id in the file of the unknown piece."""
        return next(i for i, piece in enumerate(self.proto.pieces) if piece.type == _UNKNOWN)

    @property
    def padding(self) -> int | None:
        """Id in the file of the padding piece; None if it has no such piece."""
        found = int(self.proto.trainer_spec.pad_id)
        return found if 0 <= found < len(self.tokens) else None

    @cached_property
    def reserved(self) -> frozenset[str]:
        """Pieces that text is never tokenised to: unknown, control and unused ones."""
        kinds = (_UNKNOWN, _CONTROL, _UNUSED)
        return frozenset(piece.piece for piece in self.proto.pieces if piece.type in kinds)

    def without_symbols(self, tokens: set[str]) -> SentencePieceFile:
        """A copy of the model that does not recognise `tokens` in a text.

        Files may list special tokens as user-defined symbols, which are recognised.
        """
        message = sentencepiece_model_pb2.ModelProto()
        message.CopyFrom(self.proto)
        for piece in message.pieces:
            if piece.type == _USER_DEFINED and piece.piece in tokens:
                piece.type = _CONTROL
        return SentencePieceFile(self.path, message.SerializeToString())


def read_sentencepiece(path: str) -> SentencePieceFile:
    """Read a model. Raises UserError if the file is not a unigram or BPE SentencePiece model."""
    try:
        status = Path(path).stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read as a SentencePiece model: {error.strerror}."
        ) from error


@lru_cache(maxsize=4)
def _parsed(path: str, modified_ns: int, size: int) -> SentencePieceFile:
    """Parse a model; cached until the file's modification time or size changes."""
    data = read_bytes(path, most=MOST_TEXT_BYTES)
    file = SentencePieceFile(path, data)
    try:
        SentencePieceProcessor(model_proto=data)
    except RuntimeError as error:
        raise UserError(_no_model(path, data)) from error
    if not file.tokens:
        raise UserError(_no_model(path, data))
    if file.proto.trainer_spec.model_type not in (_UNIGRAM, _BPE):
        raise UserError(
            f"{path}: the file is a SentencePiece model of words or characters; only unigram and "
            "bpe models are supported. Use tokenizer.type: space or char with a vocab.txt instead."
        )
    token, times = Counter(file.tokens).most_common(1)[0]
    if times > 1:
        raise UserError(f"{path}: the piece {token!r} occurs {times} times: the file is damaged.")
    return file


def _no_model(path: str, data: bytes) -> str:
    if data.startswith(b"version https://git-lfs"):
        return (
            f"{path}: the file is a Git LFS pointer to a SentencePiece model. Fetch the model with "
            "`git lfs pull`."
        )
    hint = " A vocab.txt belongs to tokenizer.type: wordpiece." if path.endswith(".txt") else ""
    return (
        f"{path}: the file is not a SentencePiece model (a .model file written by SentencePiece's "
        f"trainer or by `ptm vocab train --type unigram`).{hint}"
    )


def build_pipeline(
    file: SentencePieceFile,
    *,
    tokens: Sequence[str],
    unknown: int,
    lowercase: bool,
) -> tokenizers.Tokenizer:
    """Build the `tokenizers` pipeline that tokenises as the model does.

    `tokens` are the tokens in the order of this project's ids; `unknown` is the id of the unknown
    token. Raises UserError if the library does not support the model's options.
    """
    spec = file.proto.trainer_spec
    if spec.treat_whitespace_as_suffix or not file.proto.normalizer_spec.escape_whitespaces:
        raise UserError(
            f"{file.path}: the model's white space options (treat_whitespace_as_suffix, or "
            "escape_whitespaces = false) are not supported by transformers' pipelines."
        )
    pieces = {piece.piece: piece for piece in file.proto.pieces}
    model: models.Model
    if spec.model_type == _UNIGRAM:
        model = _unigram(pieces, tokens, unknown=unknown, byte_fallback=spec.byte_fallback)
    else:
        model = _bpe(pieces, tokens, unknown=unknown, byte_fallback=spec.byte_fallback)
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(_normalizers(file, lowercase=lowercase))
    if spec.byte_fallback and spec.model_type == _UNIGRAM:
        # The library would take a written <0x0A> for the piece of the byte.
        written = Regex("<(?=0x[0-9A-F]{2}>)")
        tokenizer.pre_tokenizer = pre_tokenizers.Split(written, "merged_with_previous")
    scheme = "always" if file.proto.normalizer_spec.add_dummy_prefix else "never"
    metaspace = decoders.Metaspace(replacement=SPACE, prepend_scheme=scheme)
    tokenizer.decoder = (
        decoders.Sequence([decoders.ByteFallback(), metaspace]) if spec.byte_fallback else metaspace
    )
    return tokenizer


def _unigram(
    pieces: dict[str, Any], tokens: Sequence[str], *, unknown: int, byte_fallback: bool
) -> models.Unigram:
    normal = [piece.score for piece in pieces.values() if piece.type == _NORMAL]
    lowest, highest = min(normal), max(normal)
    scores = []
    for token in tokens:
        piece = pieces.get(token)
        if piece is None or piece.type in (_UNKNOWN, _CONTROL, _UNUSED, _BYTE):
            # Text is never tokenised to these. The library scores the unknown token 10 below the
            # lowest score, so their scores must not lower it.
            scores.append((token, lowest))
        elif piece.type == _USER_DEFINED:
            # As in SentencePiece: a score above that of any other segmentation.
            scores.append((token, len(token.encode()) * highest - 0.1))
        else:
            scores.append((token, piece.score))
    return models.Unigram(scores, unk_id=unknown, byte_fallback=byte_fallback)


def _bpe(
    pieces: dict[str, Any], tokens: Sequence[str], *, unknown: int, byte_fallback: bool
) -> models.BPE:
    """Merges from scores: SentencePiece merges the neighbours whose joined piece scores highest."""
    usable = {t: p.score for t, p in pieces.items() if p.type in (_NORMAL, _USER_DEFINED)}
    ranked = sorted((t for t in usable if len(t) > 1), key=lambda t: -usable[t])
    merges = [
        (token[:cut], token[cut:])
        for token in ranked
        for cut in range(1, len(token))
        if token[:cut] in usable and token[cut:] in usable
    ]
    return models.BPE(
        {token: index for index, token in enumerate(tokens)},
        merges,
        unk_token=tokens[unknown],
        fuse_unk=True,
        byte_fallback=byte_fallback,
    )


def _normalizers(file: SentencePieceFile, *, lowercase: bool) -> list[normalizers.Normalizer]:
    spec = file.proto.normalizer_spec
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if lowercase else []
    charsmap = bytes(spec.precompiled_charsmap)
    differing = first_mapped_otherwise(charsmap)
    if differing is not None:
        raise UserError(
            f"{file.path}: the model normalises {differing!r} as a whole, which transformers' "
            "pipelines cannot, so an export would give other token ids."
        )
    mapping = mapping_steps(charsmap)
    # The library's Metaspace adds no prefix to a text that starts with a space, but SentencePiece
    # does; if it keeps spaces, also to a text of characters that the map deletes.
    if not spec.remove_extra_whitespaces:
        prefix = [normalizers.Prepend(" ")] if spec.add_dummy_prefix else []
        return [*steps, *prefix, *mapping, normalizers.Replace(" ", SPACE)]
    steps += mapping
    steps.append(normalizers.Replace(Regex(f"^ +|[ {SPACE}]+$"), ""))
    steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(SPACE))
    return [*steps, normalizers.Replace(" ", SPACE)]
