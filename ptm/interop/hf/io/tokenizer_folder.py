"""Read the tokenizer of a Hugging Face folder as the `tokenizer` block of a recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ptm.errors import UserError
from ptm.interop.hf.io.numbering import sentencepiece_ids
from ptm.interop.hf.io.pipelines import (
    apply_word_options,
    has_word_options,
    lacking_tokens,
    same_rules,
)
from ptm.interop.hf.io.tokenizer import OPTIONS
from ptm.interop.hf.io.tokenizer_classes import check_class
from ptm.interop.hf.io.tokenizer_files import UER_SENTINEL, WORD_LIST_TYPES, TokenizerFiles
from ptm.interop.hf.io.tokenizer_probe import (
    first_difference,
    probes,
    same_around_specials,
    special_in_text,
)
from ptm.text.tokenizers import AnyTokenizer, Tokenizer, TokenizerConfig
from ptm.text.tokenizers.pipeline_file import PipelineFile
from ptm.text.vocabulary import Vocabulary
from ptm.validation import first_problem

_SEQ2SEQ = ("bart", "pegasus", "t5", "mt5")
"""model_type of encoder-decoders."""


class HuggingFaceTokenizer:
    """The tokenizer of a Hugging Face folder; `config`: content of its config.json.

    The ids are those of tokenizer.json, or of the rules of the folder's other files. A type of
    ours is used if it is exactly the same tokenizer, `huggingface` otherwise.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self._config = config
        self._files = TokenizerFiles(folder, config)

    @cached_property
    def block(self) -> dict[str, Any]:
        """The `tokenizer` block, with paths of the folder's files or of temporary copies.

        Raises UserError if the tokenizer is not supported, or if its ids would differ.
        """
        if OPTIONS not in self._files.settings:
            check_class(
                self.folder,
                self._files.settings,
                self._config,
                kind=self._files.kind(),
                has_pipeline=self._files.pipeline is not None,
            )
        block = self._found_block()
        self._check_options(block)
        return block

    def _found_block(self) -> dict[str, Any]:
        ours = self._our_block()
        pipeline = self._files.pipeline if ours is None else self._whole_pipeline(ours)
        if pipeline is None:
            if ours is None:
                raise UserError(
                    f"{self.folder}: no tokenizer found. Supported: tokenizer.json; vocab.txt; "
                    "vocab.json with merges.txt; a SentencePiece model."
                )
            return ours
        block = self._huggingface_block(pipeline)
        if ours is not None and self._is_same(ours, pipeline):
            block = ours
        self._check_ids(_config_of(block).load(), pipeline)
        return block

    @property
    def adds_start(self) -> bool:
        """Whether a causal model's or an encoder-decoder's tokenizer adds a start token by default.

        With a tokenizer.json its post-processor decides: transformers 5 ignores `add_bos_token`.
        """
        if self._files.pipeline is not None:
            before, _ = self._files.pipeline.added_around
            return bool(before)
        setting = self._files.settings.get("add_bos_token")
        if setting is not None:
            return bool(setting)
        kind = str(self._config.get("model_type"))
        # BERT's and BART's tokenizers add one, also in the folder of a T5; SentencePiece's do not.
        reads_pieces = self._files.kind() == "sentencepiece"
        return kind == "llama" or (kind in _SEQ2SEQ and not reads_pieces)

    @property
    def template(self) -> dict[str, Any]:
        """The special tokens of one text and of a pair, as `objective.template` of a recipe.

        Only keys that are not the default of a recipe.
        """
        pipeline = self._files.pipeline
        if pipeline is not None:
            before, after = pipeline.added_around
            found = {
                "start": bool(before),
                "separators": min(pipeline.added_between, _MOST_SEPARATORS),
                "end": bool(after),
            }
        else:
            found = {**_USUAL, **_TEMPLATES.get(str(self._config.get("model_type")), {})}
        return {key: value for key, value in found.items() if value != _USUAL[key]}

    def _whole_pipeline(self, ours: Mapping[str, Any]) -> PipelineFile | None:
        """The pipeline of the folder; None without tokenizer.json if `ours` says everything."""
        if self._files.pipeline is not None:
            return self._files.pipeline
        config = _config_of(ours)
        vocabulary = config.read()
        lacking = lacking_tokens(self._files.added, ids=vocabulary.ids)
        lacking |= self._declared(vocabulary)
        options = ours["type"] == "wordpiece" and has_word_options(self._files.settings)
        if not options and not lacking:
            return None
        content = json.loads(config.backend(vocabulary).to_str())
        if options:
            content = apply_word_options(content, self._files.settings, source=str(self.folder))
        return self._files.written(content, lacking)

    def _declared(self, vocabulary: Vocabulary) -> dict[int, dict[str, Any]]:
        """The special tokens of lists that the vocabulary has as tokens of text."""
        ordinary = {vocabulary.tokens[index] for index in vocabulary.ordinary_ids}
        return self._files.declared(vocabulary.ids, special=vocabulary.ids.keys() - ordinary)

    def _our_block(self) -> dict[str, Any] | None:
        """The block of a type other than `huggingface` that the files could be; None if none.

        Raises UserError if the files cannot be read and there is no tokenizer.json.
        """
        declared = self._files.settings.get(OPTIONS)
        kind = declared["type"] if declared else self._files.kind()
        options = dict(declared or {"type": kind})
        if kind == "sentencepiece" and self._files.sentencepiece_file is None:
            return None
        if kind is None or kind == "huggingface":
            return None
        try:
            return self._block_of(kind, options)
        except UserError:
            if self._files.pipeline is None:
                raise
            return None

    def _block_of(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        if "lowercase" not in options or kind in WORD_LIST_TYPES:
            options["lowercase"] = self._files.lowercase(kind)
        if kind == "bpe":
            options.setdefault("prefix_space", self._files.prefix_space())
            files = self._files.bpe_files()
        elif kind == "sentencepiece":
            model = self._files.sentencepiece_file
            assert model is not None, "the type follows from the file"
            files = {"model": model}
            if OPTIONS not in self._files.settings:
                pipeline = self._files.pipeline
                tokens = () if pipeline is None else pipeline.tokens
                options |= sentencepiece_ids(
                    model, self._files.settings, self._config, tokens=tokens
                )
        else:
            files = {"vocab": self._files.vocab_file()}
        paths = {key: str(path) for key, path in files.items()}
        block = {**options, **paths, "special_tokens": self._files.roles}
        return _with_padding(block) if kind in ("bpe", "sentencepiece") else block

    def _huggingface_block(self, pipeline: PipelineFile) -> dict[str, Any]:
        block = {"type": "huggingface", "file": pipeline.path, "special_tokens": self._files.roles}
        return _with_padding(block)

    def _is_same(self, ours: Mapping[str, Any], pipeline: PipelineFile) -> bool:
        """Whether the block is the tokenizer of the pipeline."""
        try:
            tokenizer = _config_of(ours).load()
        except UserError:
            return False
        if self._declared(tokenizer.vocabulary) or not same_around_specials(tokenizer, pipeline):
            return False
        names = {UER_SENTINEL.sub(r"<extra_id_\1>", t): i for t, i in pipeline.ids.items()}
        if ours["type"] != "sentencepiece":
            backend = tokenizer.config.backend(tokenizer.vocabulary)
            return names == tokenizer.vocabulary.ids and same_rules(backend, pipeline)
        plain = pipeline.pipeline()
        plain.encode_special_tokens = True
        if not names.items() <= tokenizer.vocabulary.ids.items():
            return False
        return first_difference(tokenizer, plain, probes(tokenizer)) is None

    def _check_options(self, block: Mapping[str, Any]) -> None:
        """Raise UserError, naming the setting of the folder, for options that cannot be used."""
        config = _config_of(block)
        vocabulary = config.read()
        settings = self.folder / "tokenizer_config.json"
        if not vocabulary.has("pad"):
            raise UserError(
                f"{settings}: the tokenizer has no token for padding. Name one as pad_token; the "
                "end token can have this role, too."
            )
        if not config.lowercase:
            return
        try:
            vocabulary.check_lowercase(config.text_of)
        except UserError as error:
            raise UserError(
                f"{settings}: many tokens have capitals, but the tokenizer lowercases text. Set "
                "do_lower_case to false."
            ) from error

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


_MOST_SEPARATORS = 2
_USUAL: Mapping[str, Any] = {"start": True, "separators": 1, "end": True}
_TEMPLATES: Mapping[str, Mapping[str, Any]] = {
    "roberta": {"separators": 2},
    "xlm-roberta": {"separators": 2},
    "camembert": {"separators": 2},
    "data2vec-text": {"separators": 2},
    "bart": {"separators": 2},
    "t5": {"start": False},
    "mt5": {"start": False},
    "openai-gpt": {"start": False, "separators": 0, "end": False},
    "gpt2": {"start": False, "separators": 0, "end": False},
    "llama": {"separators": 0, "end": False},
}
"""What differs in transformers' tokenizers without a tokenizer.json, by model_type."""


def _config_of(block: Mapping[str, Any]) -> TokenizerConfig:
    adapter: TypeAdapter[TokenizerConfig] = TypeAdapter(AnyTokenizer)
    try:
        return adapter.validate_python(block)
    except ValidationError as error:
        raise UserError(f"the tokenizer cannot be read ({first_problem(error)}).") from error


def _with_padding(block: Mapping[str, Any]) -> dict[str, Any]:
    """The block in which the end token is the padding if the vocabulary has no padding."""
    vocabulary = _config_of(block).read()
    pad, end = (vocabulary.special_token(role) for role in ("pad", "sep"))
    if pad in vocabulary.ids or end not in vocabulary.ids:
        return dict(block)
    return {**block, "special_tokens": {**block["special_tokens"], "pad": end}}
