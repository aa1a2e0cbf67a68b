"""Read the tokenizer of a Hugging Face folder as the `tokenizer` block of a recipe."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from pydantic import TypeAdapter, ValidationError

from ptm.errors import UserError
from ptm.files.user_files import read_json, read_text
from ptm.interop.hf.io.numbering import sentencepiece_ids
from ptm.interop.hf.io.tokenizer import OPTIONS
from ptm.interop.hf.io.tokenizer_json import TokenizerJson
from ptm.text.tokenizers import AnyTokenizer, TokenizerConfig
from ptm.text.tokenizers.bpe import merges_text
from ptm.text.tokenizers.specials import special_roles

_SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "spm.model")
_WORD_LIST_TYPES = ("wordpiece", "char", "space")
_END_OF_WORD = "</w>"
_MODELS = {"WordPiece": "wordpiece", "BPE": "bpe", "Unigram": "sentencepiece"}
_UER_SENTINEL = re.compile(r"^extra(\d+)$", re.MULTILINE)
_EXTRACTS: list[tempfile.TemporaryDirectory[str]] = []
_PROBES = (
    "Hello World, it's the naïve café’s 3,456 Übungen!",
    "天气预报：今天ＡＢＣ晴，最高２０度。",
    "``two'' --  spaces\tand tabs ",
    "表情😀 and a_long-hyphenated.word",
)


class HuggingFaceTokenizer:
    """The tokenizer of a Hugging Face folder; `config`: content of its config.json."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self._config = config

    @cached_property
    def block(self) -> dict[str, Any]:
        """The `tokenizer` block, with paths of the folder's files or of extracted copies.

        Raises UserError if the tokenizer is not supported, or if its ids would differ.
        """
        kind = self._kind()
        options = dict(self._settings.get(OPTIONS) or {"type": kind})
        if "lowercase" not in options or kind in _WORD_LIST_TYPES:
            options["lowercase"] = self._lowercase(kind)
        if kind == "bpe":
            files = self._bpe_files(options)
        elif kind == "sentencepiece":
            files = self._sentencepiece_files(options)
        else:
            self._check_wordpiece_options(lowercase=options["lowercase"])
            files = {"vocab": self._vocab_file()}
        # A null setting counts as absent.
        settings = {key: value for key, value in self._settings.items() if value is not None}
        roles = special_roles({**self._read("special_tokens_map.json"), **settings})
        block = {
            **options,
            **{key: str(path) for key, path in files.items()},
            "special_tokens": roles,
        }
        if kind == "sentencepiece":
            block["special_tokens"] = _with_padding(block)
        if kind not in _WORD_LIST_TYPES:
            self._check_ids(block)
        return block

    def _kind(self) -> str:
        declared = self._settings.get(OPTIONS, {}).get("type") or self._settings.get("ptm_type")
        if declared:
            return str(declared)
        if self._sentencepiece_file is not None:
            return "sentencepiece"
        if (self.folder / "vocab.txt").exists():
            return "wordpiece"
        if (self.folder / "vocab.json").exists() and (self.folder / "merges.txt").exists():
            return "bpe"
        if self._pipeline.is_sentencepiece_bpe:
            return "sentencepiece"
        model = self._pipeline.model.get("type")
        if model not in _MODELS:
            raise UserError(
                f"{self.folder}: no supported tokenizer found. Supported: vocab.txt; vocab.json "
                "with merges.txt; a SentencePiece model; a tokenizer.json with a WordPiece, "
                f"byte-level BPE or Unigram model{f' (it has {model})' if model else ''}."
            )
        return _MODELS[model]

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return self._read("tokenizer_config.json")

    @cached_property
    def _pipeline(self) -> TokenizerJson:
        return TokenizerJson(self._read("tokenizer.json"))

    def _lowercase(self, kind: str) -> bool:
        bert = next((n for n in self._pipeline.normalizers() if n["type"] == "BertNormalizer"), {})
        usual = kind in _WORD_LIST_TYPES
        if usual:
            setting = self._settings.get("do_lower_case", bert.get("lowercase", True))
            return bool(setting)
        return any(step["type"] == "Lowercase" for step in self._pipeline.normalizers())

    def _check_wordpiece_options(self, *, lowercase: bool) -> None:
        bert = next((n for n in self._pipeline.normalizers() if n["type"] == "BertNormalizer"), {})
        settings = {
            "strip_accents": bert.get("strip_accents"),
            "tokenize_chinese_chars": bert.get("handle_chinese_chars"),
            **self._settings,
        }
        for name, usual in (("strip_accents", lowercase), ("tokenize_chinese_chars", True)):
            if settings.get(name) not in (None, usual):
                raise UserError(
                    f"{self.folder}: the tokenizer's {name} = {json.dumps(settings[name])} is not "
                    f"supported, because token ids would differ. Supported: {json.dumps(usual)}."
                )

    def _vocab_file(self) -> Path:
        """The path of `vocab.txt`, or of a file with the vocabulary of `tokenizer.json`."""
        vocab = self.folder / "vocab.txt"
        if vocab.exists():
            return self._with_sentinels(vocab)
        if not isinstance(self._pipeline.model.get("vocab"), dict):
            raise UserError(
                f"{self.folder}: no vocabulary found. Add vocab.txt or a tokenizer.json with a "
                "vocabulary."
            )
        tokens = "".join(f"{token}\n" for token in self._pipeline.tokens())
        return self._temporary_file("vocab.txt", tokens.encode("utf-8"))

    def _with_sentinels(self, vocab: Path) -> Path:
        """The vocabulary with sentinels named as in ptm.

        UER-py's T5 models on the Hub name them extra0; ptm names them <extra_id_0>.
        """
        text = read_text(vocab)
        if self._config.get("model_type") != "t5" or not _UER_SENTINEL.search(text):
            return vocab
        return self._temporary_file(
            "vocab.txt", _UER_SENTINEL.sub(r"<extra_id_\1>", text).encode("utf-8")
        )

    def _bpe_files(self, options: dict[str, Any]) -> dict[str, Path]:
        names = {"vocab": self.folder / "vocab.json", "merges": self.folder / "merges.txt"}
        if self._pipeline:
            byte_level = self._pipeline.pre_tokenizer("ByteLevel")
            if not byte_level or byte_level.get("use_regex") is False:
                raise UserError(
                    f"{self.folder}: the byte-pair encoding of tokenizer.json is not supported. "
                    "Supported: the byte-level BPE of GPT-2."
                )
            options.setdefault("prefix_space", bool(byte_level.get("add_prefix_space")))
        else:
            options.setdefault("prefix_space", bool(self._settings.get("add_prefix_space")))
        if all(path.exists() for path in names.values()):
            self._check_end_of_word(names["vocab"])
            return names
        if (
            not isinstance(self._pipeline.model.get("vocab"), dict)
            or "merges" not in self._pipeline.model
        ):
            raise UserError(f"{self.folder}: vocab.json or merges.txt is missing.")
        tokens = {token: i for i, token in enumerate(self._pipeline.tokens())}
        return {
            "vocab": self._temporary_file(
                "vocab.json", json.dumps(tokens, ensure_ascii=False).encode()
            ),
            "merges": self._temporary_file(
                "merges.txt", merges_text(self._pipeline.merges()).encode("utf-8")
            ),
        }

    def _check_end_of_word(self, vocab: Path) -> None:
        if any(token.endswith(_END_OF_WORD) for token in self._read(vocab.name)):
            raise UserError(
                f"{vocab}: the tokens mark the ends of words with {_END_OF_WORD}, as in OpenAI's "
                "first GPT, which is not supported. Supported: the byte-level BPE of GPT-2."
            )

    @property
    def adds_start(self) -> bool:
        """Whether the tokenizer adds the start token before a text by default, as LLaMA's does."""
        setting = self._settings.get("add_bos_token")
        if setting is not None:
            return bool(setting)
        if self._pipeline:
            return self._pipeline.adds_start
        return self._config.get("model_type") == "llama"

    @cached_property
    def _sentencepiece_file(self) -> Path | None:
        paths = (self.folder / name for name in _SENTENCEPIECE)
        return next((path for path in paths if path.exists()), None)

    def _sentencepiece_files(self, options: dict[str, Any]) -> dict[str, Path]:
        if OPTIONS not in self._settings:
            options |= sentencepiece_ids(
                self._sentencepiece_file, self._pipeline.model, self._settings, self._config
            )
            if str(self._settings.get("tokenizer_class", "")).startswith("Albert"):
                raise UserError(
                    f"{self.folder}: ALBERT's English tokenizer is not supported. It rewrites "
                    "quotes, accents and numbers around SentencePiece, so token ids would differ."
                )
        path = self._sentencepiece_file
        if path is None:
            try:
                content = self._pipeline.sentencepiece(fairseq=options["ids"] == "fairseq")
            except UserError as error:
                raise UserError(f"{self.folder}: {error}") from error
            path = self._temporary_file("extracted.model", content)
        return {"model": path}

    def _check_ids(self, block: dict[str, Any]) -> None:
        """Raise UserError if `tokenizer.json` gives other ids for plain text than the block."""
        path = self.folder / "tokenizer.json"
        if not path.exists():
            return
        try:
            ours = _config_of(block).load()
        except ValidationError as error:
            raise UserError(f"{self.folder}: the tokenizer cannot be read ({error}).") from error
        theirs = tokenizers.Tokenizer.from_file(str(path))
        # SentencePiece ignores a trailing space; some tokenizer.json made from it do not.
        strips = block["type"] == "sentencepiece"
        probes = [text.strip() if strips else text for text in _PROBES]
        for text, mine in zip(probes, ours.encode(probes), strict=True):
            other = theirs.encode(text, add_special_tokens=False).ids
            if mine != other:
                shown = [ours.vocabulary.tokens[i] for i in mine][:8]
                raise UserError(
                    f"{self.folder}: this kind of tokenizer is not supported: tokenizer.json "
                    f"splits {text!r} into {[theirs.id_to_token(i) for i in other][:8]} …, but "
                    f"ptm would split it into {shown} …."
                )

    def _temporary_file(self, name: str, content: bytes) -> Path:
        """Write a temporary file, kept until the process ends since a returned block names it."""
        folder = tempfile.TemporaryDirectory(prefix="ptm-tokenizer-")
        _EXTRACTS.append(folder)
        path = Path(folder.name) / name
        path.write_bytes(content)
        return path

    def _read(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.exists():
            return {}
        content = read_json(path)
        return content if isinstance(content, dict) else {}


def _config_of(block: Mapping[str, Any]) -> TokenizerConfig:
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    return adapter.validate_python(block)


def _with_padding(block: Mapping[str, Any]) -> dict[str, str]:
    """The special tokens of a block; the end token is the padding if the vocabulary has none."""
    vocabulary = _config_of(block).read()
    roles: dict[str, str] = block["special_tokens"]
    pad, end = (vocabulary.specials[role] for role in ("pad", "sep"))
    return {**roles, "pad": end} if pad not in vocabulary.ids and end in vocabulary.ids else roles
