"""Read the tokenizer of a Hugging Face folder as the `tokenizer` block of a recipe."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ptm.errors import UserError
from ptm.interop.hf.io.numbering import sentencepiece_ids
from ptm.interop.hf.io.pipelines import (
    apply_settings,
    apply_word_options,
    has_word_options,
    lacking_tokens,
    same_rules,
    with_tokens,
)
from ptm.interop.hf.io.tokenizer import OPTIONS
from ptm.interop.hf.io.tokenizer_classes import check_class, tokenizer_class
from ptm.interop.hf.io.tokenizer_probe import first_difference, probes, special_in_text
from ptm.text.tokenizers import AnyTokenizer, Tokenizer, TokenizerConfig
from ptm.text.tokenizers.bpe import merges_text
from ptm.text.tokenizers.pipeline_file import PipelineFile, read_pipeline_file
from ptm.text.tokenizers.specials import special_roles

_SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "spm.model")
_WORD_LIST_TYPES = ("wordpiece", "char", "space")
_PIPELINE = "tokenizer.json"
_UER_SENTINEL = re.compile(r"^extra(\d+)$", re.MULTILINE)
_EXTRACTS: list[tempfile.TemporaryDirectory[str]] = []


class HuggingFaceTokenizer:
    """The tokenizer of a Hugging Face folder; `config`: content of its config.json.

    The ids are those of tokenizer.json, or of the rules of the folder's other files. A type of
    ours is used if it is exactly the same tokenizer, `huggingface` otherwise.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self._config = config

    @cached_property
    def block(self) -> dict[str, Any]:
        """The `tokenizer` block, with paths of the folder's files or of temporary copies.

        Raises UserError if the tokenizer is not supported, or if its ids would differ.
        """
        if OPTIONS not in self._settings:
            kind, has_pipeline = self._kind(), self._pipeline is not None
            check_class(
                self.folder, self._settings, self._config, kind=kind, has_pipeline=has_pipeline
            )
        ours = self._our_block()
        pipeline = self._pipeline if ours is None else self._whole_pipeline(ours)
        if pipeline is None:
            if ours is None:
                raise UserError(
                    f"{self.folder}: no tokenizer found. Supported: tokenizer.json; vocab.txt; "
                    "vocab.json with merges.txt; a SentencePiece model."
                )
            return ours
        block = self._huggingface_block(pipeline)
        if ours is not None and self._has_rows(ours) and self._is_same(ours, pipeline):
            block = ours
        self._check_ids(_config_of(block).load(), pipeline)
        return block

    @property
    def adds_start(self) -> bool:
        """Whether the tokenizer adds the start token before a text by default, as LLaMA's does."""
        setting = self._settings.get("add_bos_token")
        if setting is not None:
            return bool(setting)
        if self._pipeline is not None:
            return self._pipeline.adds_start
        return self._config.get("model_type") == "llama"

    @cached_property
    def _settings(self) -> dict[str, Any]:
        return self._read("tokenizer_config.json")

    @cached_property
    def _pipeline(self) -> PipelineFile | None:
        """The folder's tokenizer.json as transformers runs it: with the options and added tokens
        of tokenizer_config.json."""
        path = self.folder / _PIPELINE
        if not path.exists():
            return None
        file = read_pipeline_file(str(path))
        name = tokenizer_class(self._settings, self._config)
        content = apply_settings(file.content, self._settings, name=name)
        found = {token["content"] for token in file.added}
        lacking = lacking_tokens(self._added, ids=file.ids, found=found)
        changed = bool(lacking) or content != file.content
        return self._written(content, lacking) if changed else file

    def _whole_pipeline(self, ours: Mapping[str, Any]) -> PipelineFile | None:
        """The pipeline of the folder; None without tokenizer.json if `ours` says everything."""
        if self._pipeline is not None:
            return self._pipeline
        config = _config_of(ours)
        vocabulary = config.read()
        lacking = lacking_tokens(self._added, ids=vocabulary.ids)
        options = ours["type"] == "wordpiece" and has_word_options(self._settings)
        if not options and not lacking and self._has_rows(ours):
            return None
        content = json.loads(config.backend(vocabulary).to_str())
        if options:
            content = apply_word_options(content, self._settings, source=str(self.folder))
        return self._written(content, lacking)

    def _written(
        self, content: Mapping[str, Any], lacking: Mapping[int, Mapping[str, Any]]
    ) -> PipelineFile:
        """A temporary tokenizer.json with `content` and the added tokens `lacking`."""
        text = with_tokens(content, lacking, source=str(self.folder))
        return read_pipeline_file(str(self._temporary_file(_PIPELINE, text.encode("utf-8"))))

    @cached_property
    def _added(self) -> dict[int, dict[str, Any]]:
        """Id to token, for the tokens that were added to the vocabulary files."""
        named = self._settings.get("added_tokens_decoder")
        if isinstance(named, dict):
            return {int(index): dict(token) for index, token in sorted(named.items())}
        roles = set(self._roles.values())
        return {
            index: {"content": token, "special": token in roles, "normalized": token not in roles}
            for token, index in self._read("added_tokens.json").items()
        }

    @cached_property
    def _roles(self) -> dict[str, str]:
        # A null setting counts as absent.
        settings = {key: value for key, value in self._settings.items() if value is not None}
        return special_roles({**self._read("special_tokens_map.json"), **settings})

    def _our_block(self) -> dict[str, Any] | None:
        """The block of a type other than `huggingface` that the files could be; None if none.

        Raises UserError if the files cannot be read and there is no tokenizer.json.
        """
        declared = self._settings.get(OPTIONS)
        kind = declared["type"] if declared else self._kind()
        options = dict(declared or {"type": kind})
        if kind == "sentencepiece" and self._sentencepiece_file is None:
            return None
        if kind is None or kind == "huggingface":
            return None
        try:
            return self._block_of(kind, options)
        except UserError:
            if self._pipeline is None:
                raise
            return None

    def _block_of(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        if "lowercase" not in options or kind in _WORD_LIST_TYPES:
            options["lowercase"] = self._lowercase(kind)
        if kind == "bpe":
            options.setdefault("prefix_space", self._prefix_space())
            files = self._bpe_files()
        elif kind == "sentencepiece" and self._sentencepiece_file is not None:
            files = {"model": self._sentencepiece_file}
            if OPTIONS not in self._settings:
                tokens = self._pipeline.tokens if self._pipeline is not None else ()
                options |= sentencepiece_ids(
                    self._sentencepiece_file, self._settings, self._config, tokens=tokens
                )
        else:
            files = {"vocab": self._vocab_file()}
        paths = {key: str(path) for key, path in files.items()}
        block = {**options, **paths, "special_tokens": self._roles}
        return _with_padding(block) if kind == "sentencepiece" else block

    def _huggingface_block(self, pipeline: PipelineFile) -> dict[str, Any]:
        declared = self._settings.get(OPTIONS, {})
        rows = int(self._config.get("vocab_size") or 0)
        unused = declared.get("unused", max(0, rows - len(pipeline.tokens)))
        block = {"type": "huggingface", "file": pipeline.path, "special_tokens": self._roles}
        return _with_padding({**block, "unused": unused} if unused else block)

    def _kind(self) -> str | None:
        """The type of the folder's vocabulary files; None for a tokenizer.json of another kind."""
        if self._sentencepiece_file is not None:
            return "sentencepiece"
        if (self.folder / "vocab.txt").exists():
            return "wordpiece"
        if (self.folder / "vocab.json").exists() and (self.folder / "merges.txt").exists():
            return "bpe"
        if self._pipeline is None:
            return None
        model = self._pipeline.model.get("type")
        if model == "BPE" and self._pipeline.word_mark == "Ġ":
            return "bpe"
        return "wordpiece" if model == "WordPiece" else None

    def _lowercase(self, kind: str) -> bool:
        if self._pipeline is not None:
            return self._pipeline.lowercases
        return bool(self._settings.get("do_lower_case", True)) and kind in _WORD_LIST_TYPES

    def _prefix_space(self) -> bool:
        if self._pipeline is None:
            return bool(self._settings.get("add_prefix_space"))
        steps = self._pipeline.steps("pre_tokenizer")
        return any(step.get("add_prefix_space") for step in steps)

    def _vocab_file(self) -> Path:
        """The path of `vocab.txt`, or of a file with the vocabulary of `tokenizer.json`."""
        vocab = self.folder / "vocab.txt"
        if vocab.exists():
            return self._with_sentinels(vocab)
        assert self._pipeline is not None, "a word list comes from vocab.txt or tokenizer.json"
        tokens = "".join(f"{token}\n" for token in self._pipeline.tokens)
        return self._temporary_file("vocab.txt", tokens.encode("utf-8"))

    def _with_sentinels(self, vocab: Path) -> Path:
        """The vocabulary with sentinels named as in ptm.

        UER-py's T5 models on the Hub name them extra0; ptm names them <extra_id_0>.
        """
        text = vocab.read_text(encoding="utf-8")
        if self._config.get("model_type") != "t5" or not _UER_SENTINEL.search(text):
            return vocab
        return self._temporary_file(
            "vocab.txt", _UER_SENTINEL.sub(r"<extra_id_\1>", text).encode("utf-8")
        )

    def _bpe_files(self) -> dict[str, Path]:
        names = {"vocab": self.folder / "vocab.json", "merges": self.folder / "merges.txt"}
        if all(path.exists() for path in names.values()):
            if any(token.endswith("</w>") for token in self._read("vocab.json")):
                raise UserError(
                    f"{names['vocab']}: the tokens mark the ends of words with </w>, as in "
                    "OpenAI's first GPT. Put its tokenizer.json into the folder."
                )
            return names
        assert self._pipeline is not None, "merges come from merges.txt or tokenizer.json"
        vocab = json.dumps(self._pipeline.ids, ensure_ascii=False)
        merges = merges_text(self._pipeline.merges)
        return {
            "vocab": self._temporary_file("vocab.json", vocab.encode("utf-8")),
            "merges": self._temporary_file("merges.txt", merges.encode("utf-8")),
        }

    @cached_property
    def _sentencepiece_file(self) -> Path | None:
        paths = (self.folder / name for name in _SENTENCEPIECE)
        return next((path for path in paths if path.exists()), None)

    def _has_rows(self, ours: Mapping[str, Any]) -> bool:
        """Whether the block has a token for every row that config.json counts."""
        rows = int(self._config.get("vocab_size") or 0)
        return ours["type"] == "sentencepiece" or _config_of(ours).read().size >= rows

    def _is_same(self, ours: Mapping[str, Any], pipeline: PipelineFile) -> bool:
        """Whether the block is the tokenizer of the pipeline."""
        try:
            tokenizer = _config_of(ours).load()
        except UserError:
            return False
        names = {_UER_SENTINEL.sub(r"<extra_id_\1>", t): i for t, i in pipeline.ids.items()}
        if ours["type"] != "sentencepiece":
            backend = tokenizer.config.backend(tokenizer.vocabulary)
            return names == tokenizer.vocabulary.ids and same_rules(backend, pipeline)
        plain = pipeline.pipeline()
        plain.encode_special_tokens = True
        ids = tokenizer.vocabulary.ids
        same = all(ids.get(token, index) == index for token, index in names.items())
        return same and first_difference(tokenizer, plain, probes(tokenizer)) is None

    def _check_ids(self, tokenizer: Tokenizer, pipeline: PipelineFile) -> None:
        """Raise UserError if the folder's pipeline gives other ids than the tokenizer."""
        plain = pipeline.pipeline()
        plain.encode_special_tokens = True
        difference = first_difference(tokenizer, plain, probes(tokenizer))
        if difference is not None:
            raise UserError(
                f"{self.folder}: the tokenizer cannot be imported with the same ids: {difference}."
            )
        token = special_in_text(tokenizer)
        if token is not None:
            raise UserError(
                f"{self.folder}: the special token {token} written in a text would get its own "
                "id, which would let a corpus insert special tokens."
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
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: the file is not valid JSON ({error}).") from error
        return content if isinstance(content, dict) else {}


def _config_of(block: Mapping[str, Any]) -> TokenizerConfig:
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    try:
        return adapter.validate_python(block)
    except ValidationError as error:
        raise UserError(f"the tokenizer cannot be read ({error}).") from error


def _with_padding(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block in which the end token is the padding if the vocabulary has no padding."""
    vocabulary = _config_of(block).read()
    pad, end = (vocabulary.special_token(role) for role in ("pad", "sep"))
    if pad in vocabulary.ids or end not in vocabulary.ids:
        return dict(block)
    return {**block, "special_tokens": {**block["special_tokens"], "pad": end}}
