"""Reading a `tokenizer.json`, the file of the `tokenizers` library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import tokenizers

from ptm.errors import UserError
from ptm.files.user_files import parse_json, read_text
from ptm.limits import MOST_JSON_BYTES

_HIDDEN = "\0"
"""Put before an entry of the model's vocabulary, so that no word of a text is this entry.

Corpora contain no NUL.
"""
_METASPACE = "▁"
_PROBE = "a 1 的"
"""A text of which every usual vocabulary has a token."""
_ID_PARTS = ("normalizer", "pre_tokenizer", "model")
"""The parts of the file that decide on the ids of plain text, besides `added_tokens`."""


@dataclass(frozen=True)
class PipelineFile:
    """The content of a `tokenizer.json`."""

    path: str
    text: str

    @cached_property
    def content(self) -> Mapping[str, Any]:
        """The file as a map."""
        found: Mapping[str, Any] = parse_json(self.text, name=self.path)
        return found

    def pipeline(self) -> tokenizers.Tokenizer:
        """A new pipeline as the file describes it, but without truncation and padding."""
        return _built(self.text)

    @cached_property
    def _shared(self) -> tokenizers.Tokenizer:
        """The pipeline with special tokens as plain text; building it takes a second if large."""
        pipeline = self.pipeline()
        pipeline.encode_special_tokens = True
        return pipeline

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token to id, added tokens included."""
        found: dict[str, int] = self._shared.get_vocab(with_added_tokens=True)
        return found

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Tokens by id. Ids without a token get placeholders, named as unused tokens."""
        by_id = {index: token for token, index in self.ids.items()}
        free = (name for name in map(unused, count()) if name not in self.ids)
        return tuple(
            by_id[index] if index in by_id else next(free) for index in range(max(by_id) + 1)
        )

    @property
    def model(self) -> Mapping[str, Any]:
        """The part that splits words into tokens."""
        found: Mapping[str, Any] = self.content["model"]
        return found

    @property
    def unknown(self) -> str | None:
        """The token of text that the model cannot split; None if there is no such token."""
        if self.model.get("unk_id") is not None:
            return str(self.model["vocab"][self.model["unk_id"]][0])
        return self.model.get("unk_token")

    @property
    def added(self) -> list[dict[str, Any]]:
        """Tokens that are found in the text before the model splits it."""
        found: list[dict[str, Any]] = self.content.get("added_tokens") or []
        return found

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merged pairs of a BPE model, by priority."""
        pairs = (m.split(" ", 1) if isinstance(m, str) else m for m in self.model["merges"])
        return [(left, right) for left, right in pairs]

    @cached_property
    def added_around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the post-processor adds before and after one text."""
        encoding = self._shared.encode(_PROBE)
        of_text = [at for at, number in enumerate(encoding.sequence_ids) if number is not None]
        first, last = (of_text[0], of_text[-1]) if of_text else (0, -1)
        return tuple(encoding.ids[:first]), tuple(encoding.ids[last + 1 :])

    @cached_property
    def added_between(self) -> int:
        """Number of tokens that the post-processor adds between the texts of a pair."""
        encoding = self._shared.encode(_PROBE, _PROBE)
        of_text = [at for at, number in enumerate(encoding.sequence_ids) if number is not None]
        owners = [encoding.sequence_ids[at] for at in of_text]
        if 1 not in owners:
            return 0
        border = owners.index(1)
        return of_text[border] - of_text[border - 1] - 1

    def steps(self, part: str) -> list[dict[str, Any]]:
        """The steps of `normalizer`, `pre_tokenizer` or `decoder`, sequences flattened."""
        waiting = [self.content.get(part)]
        found: list[dict[str, Any]] = []
        while waiting:
            step = waiting.pop(0)
            if isinstance(step, dict) and step.get("type") == "Sequence":
                inner = (value for value in step.values() if isinstance(value, list))
                waiting = [*next(inner, []), *waiting]
            elif isinstance(step, dict):
                found.append(step)
        return found

    @cached_property
    def decoder(self) -> Any:
        """The library's decoder, from tokens to text; None if the file lacks a decoder."""
        return self._shared.decoder

    @cached_property
    def lowercases(self) -> bool:
        """Whether the normalizer lowercases text."""
        normalizer = self._shared.normalizer
        return normalizer is not None and not any(map(str.isupper, normalizer.normalize_str("ABC")))

    @property
    def continuing_prefix(self) -> str:
        """The prefix of pieces inside a word, such as `##`; empty if absent."""
        return str(self.model.get("continuing_subword_prefix") or "")

    @cached_property
    def word_mark(self) -> str | None:
        """The prefix of pieces that start a word, `Ġ` or `▁`; None if absent."""
        steps = [s for part in ("normalizer", "pre_tokenizer", "decoder") for s in self.steps(part)]
        if any(step["type"] == "ByteLevel" for step in steps):
            return "Ġ"
        marked = any(step["type"] == "Metaspace" or _METASPACE in step.values() for step in steps)
        return _METASPACE if marked else None

    def plain_text_pipeline(
        self, specials: Set[str], *, recognised: Set[str] = frozenset()
    ) -> tokenizers.Tokenizer:
        """A pipeline that reads `specials` in a text as plain text, whatever the file says.

        Those of `recognised` are found in the text even so. Ids are those of the file.
        """
        vocab = self.model["vocab"]
        known = {token for token, _ in vocab} if isinstance(vocab, list) else vocab
        hidden = {token: _HIDDEN + token for token in specials - recognised if token in known}
        added = [
            {
                **token,
                "content": hidden.get(token["content"], token["content"]),
                "special": token["content"] in specials and token["content"] not in recognised,
            }
            for token in self.added
        ]
        if not hidden and not recognised and added == self.added:
            return self._shared
        content = {**self.content, "model": _hide(self, hidden), "added_tokens": added}
        pipeline = _built(json.dumps(content, ensure_ascii=False))
        lacking = recognised - {token["content"] for token in self.added}
        pipeline.add_tokens(
            [tokenizers.AddedToken(token, normalized=False) for token in sorted(lacking)]
        )
        pipeline.encode_special_tokens = True
        return pipeline

    def rules_hash(self, specials: Set[str]) -> str:
        """Hash of all that decides on the ids of a text in which `specials` are plain text."""
        content = json.loads(self._shared.to_str())
        found = [t for t in content["added_tokens"] if t["content"] not in specials]
        parts = [content[part] for part in _ID_PARTS]
        text = json.dumps([*parts, found, sorted(specials)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def unused(number: int) -> str:
    """The name of a row of the embedding that no text uses."""
    return f"<unused{number}>"


def _hide(file: PipelineFile, hidden: Mapping[str, str]) -> Mapping[str, Any]:
    """The model with entries renamed. Merges that make a renamed entry are left out."""
    model = file.model
    if not hidden:
        return model
    vocab = model["vocab"]
    changed = dict(model)
    if isinstance(vocab, list):
        changed["vocab"] = [[hidden.get(token, token), score] for token, score in vocab]
    else:
        changed["vocab"] = {hidden.get(token, token): index for token, index in vocab.items()}
    if model.get("unk_token") in hidden:
        changed["unk_token"] = hidden[model["unk_token"]]
    if "merges" in model:
        changed["merges"] = [
            [left, right]
            for left, right in file.merges
            if not {left, right, left + right} & hidden.keys()
        ]
    return changed


def _built(text: str) -> tokenizers.Tokenizer:
    pipeline = tokenizers.Tokenizer.from_str(text)
    pipeline.no_truncation()
    pipeline.no_padding()
    return pipeline


def read_pipeline_file(path: str) -> PipelineFile:
    """Read a `tokenizer.json`. Raises UserError if the `tokenizers` library cannot read it."""
    try:
        status = Path(path).stat()
        return _parsed(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read as a tokenizer: {error.strerror}.") from error


@lru_cache(maxsize=4)
def _parsed(path: str, modified_ns: int, size: int) -> PipelineFile:
    """Parse a file; cached until its modification time or size changes."""
    file = PipelineFile(path, read_text(path, most=MOST_JSON_BYTES))
    try:
        content = file.content
    except UserError as error:
        raise UserError(f"{error} If it is a Git LFS pointer, run `git lfs pull`.") from error
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict) or not model.get("vocab"):
        raise UserError(
            f"{path}: the file is not a tokenizer.json of the tokenizers library: it has no model "
            "with a vocabulary. A vocab.json belongs to tokenizer.type: bpe."
        )
    try:
        _ = file.ids
    except Exception as error:
        # The library raises plain exceptions.
        raise UserError(
            f"{path}: the tokenizers library {tokenizers.__version__} cannot read the file: "
            f"{error}."
        ) from error
    return file
