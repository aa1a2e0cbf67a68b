"""Read a `tokenizer.json`, and rebuild the SentencePiece model it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptm.errors import UserError
from ptm.text.tokenizers.sentencepiece_file import SPACE, bpe_model, unigram_model

# Normalizers that SentencePiece has too.
_AS_SENTENCEPIECE = ("Precompiled", "Strip", "NFC", "Lowercase")


class TokenizerJson:
    """The content of a `tokenizer.json`; empty if the file is absent."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content

    def __bool__(self) -> bool:
        return bool(self.content)

    @property
    def model(self) -> dict[str, Any]:
        """The model that splits words into tokens; empty if absent."""
        model = self.content.get("model")
        return model if isinstance(model, dict) else {}

    def normalizers(self) -> list[dict[str, Any]]:
        """The normalizers in their order, sequences flattened."""
        steps = [self.content.get("normalizer")]
        found: list[dict[str, Any]] = []
        while steps:
            step = steps.pop(0)
            if isinstance(step, dict) and step.get("type") == "Sequence":
                steps = [*step["normalizers"], *steps]
            elif isinstance(step, dict):
                found.append(step)
        return found

    def pre_tokenizer(self, kind: str) -> dict[str, Any]:
        """The pre-tokenizer of type `kind`; empty if absent."""
        step = self.content.get("pre_tokenizer") or {}
        steps = step.get("pretokenizers", [step])
        return next((step for step in steps if step.get("type") == kind), {})

    @property
    def adds_start(self) -> bool:
        """Whether the post-processor adds a special token before a text."""
        step = self.content.get("post_processor") or {}
        steps = step.get("processors", [step])
        singles = [step["single"] for step in steps if step.get("type") == "TemplateProcessing"]
        return any("SpecialToken" in single[0] for single in singles if single)

    def tokens(self) -> list[str]:
        """All tokens in the order of their ids, added tokens included."""
        ids: Mapping[str, int] = self.model["vocab"]
        added = {token["content"]: token["id"] for token in self.content.get("added_tokens", [])}
        whole = {**added, **ids}
        return sorted(whole, key=whole.__getitem__)

    def merges(self) -> list[tuple[str, str]]:
        """Merged pairs, by priority."""
        pairs = (m.split(" ") if isinstance(m, str) else m for m in self.model["merges"])
        return [(left, right) for left, right in pairs]

    @property
    def is_sentencepiece_bpe(self) -> bool:
        """Whether the model is SentencePiece's byte-pair encoding (as LLaMA's), not byte-level."""
        steps = (*self.normalizers(), self.pre_tokenizer("Metaspace"))
        marks_spaces = any(SPACE in step.values() for step in steps)
        of_bytes = bool(self.pre_tokenizer("ByteLevel"))
        return self.model.get("type") == "BPE" and marks_spaces and not of_bytes

    def sentencepiece(self, *, fairseq: bool) -> bytes:
        """The bytes of an equivalent SentencePiece model file.

        `fairseq`: whether the ids are in the order of XLM-R. Raises UserError if no SentencePiece
        model is equivalent.
        """
        return self._merged() if self.is_sentencepiece_bpe else self._unigrams(fairseq=fairseq)

    def _unigrams(self, *, fairseq: bool) -> bytes:
        steps = self.normalizers()
        others = [
            step["type"]
            for step in steps
            if step["type"] not in _AS_SENTENCEPIECE
            and not (step["type"] == "Replace" and step["content"] in (" ", SPACE, "", "\x01"))
        ]
        metaspace = self.pre_tokenizer("Metaspace")
        if self.model.get("type") != "Unigram" or others or not metaspace:
            raise UserError(
                "tokenizer.json is not a plain SentencePiece model"
                f"{f' (it has {others[0]})' if others else ''}. Put the SentencePiece .model file "
                "into the folder."
            )
        charsmaps = (n["precompiled_charsmap"] for n in steps if n["type"] == "Precompiled")
        added = self.content.get("added_tokens", [])
        return unigram_model(
            [(piece, score) for piece, score in self.model["vocab"]],
            unknown=self.model["unk_id"],
            control={token["content"] for token in added if token.get("special")},
            fairseq=fairseq,
            charsmap=next(charsmaps, ""),
            dummy_prefix=metaspace.get("prepend_scheme", "always") != "never",
        )

    def _merged(self) -> bytes:
        prepends = any(step["type"] == "Prepend" for step in self.normalizers())
        scheme = self.pre_tokenizer("Metaspace").get("prepend_scheme", "never")
        pieces, unknown = self.tokens(), self.model.get("unk_token")
        if unknown not in pieces:
            raise UserError(
                "tokenizer.json has no unknown token (unk_token), which SentencePiece needs."
            )
        return bpe_model(
            pieces,
            self.merges(),
            unknown=pieces.index(unknown),
            control={token["content"] for token in self.content.get("added_tokens", [])},
            dummy_prefix=prepends or scheme != "never",
        )
