"""The files of a Hugging Face folder that make its tokenizer."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.files.user_files import read_json, read_text
from ptm.interop.hf.io.pipelines import apply_settings, lacking_tokens, with_tokens
from ptm.interop.hf.io.tokenizer import OPTIONS
from ptm.interop.hf.io.tokenizer_classes import tokenizer_class
from ptm.text.tokenizers.bpe import merges_text
from ptm.text.tokenizers.pipeline_file import PipelineFile, read_pipeline_file
from ptm.text.tokenizers.specials import special_roles
from ptm.text.vocabulary import SENTINEL

UER_SENTINEL = re.compile(r"^extra(\d+)$", re.MULTILINE)
"""A sentinel as UER-py's T5 models on the Hub name it; ptm names it <extra_id_0>."""
_SENTENCEPIECE = ("sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "spm.model")
WORD_LIST_TYPES = ("wordpiece", "char", "space")
"""Types that are read from a vocab.txt."""
_PIPELINE = "tokenizer.json"
_LISTS = ("additional_special_tokens", "extra_special_tokens")
"""Keys of tokenizer_config.json and special_tokens_map.json: tokens that have no role."""
_EXTRACTS: list[tempfile.TemporaryDirectory[str]] = []


class TokenizerFiles:
    """The tokenizer files of a folder; `config`: content of its config.json."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The content of tokenizer_config.json; empty if absent."""
        return self._read("tokenizer_config.json")

    @cached_property
    def pipeline(self) -> PipelineFile | None:
        """The folder's tokenizer.json as transformers runs it: with the options and added tokens
        of tokenizer_config.json."""
        path = self.folder / _PIPELINE
        if not path.exists():
            return None
        file = read_pipeline_file(str(path))
        name = tokenizer_class(self.settings, self.config)
        content = apply_settings(file.content, self.settings, name=name)
        found = {token["content"] for token in file.added}
        lacking = lacking_tokens(self.added, ids=file.ids, found=found)
        lacking |= self.declared(file.ids, special=found)
        changed = bool(lacking) or content != file.content
        return self.written(content, lacking) if changed else file

    @cached_property
    def added(self) -> dict[int, dict[str, Any]]:
        """Id to token, for the tokens that were added to the vocabulary files."""
        named = self.settings.get("added_tokens_decoder")
        if isinstance(named, dict):
            return {int(index): dict(token) for index, token in sorted(named.items())}
        roles = set(self.roles.values())
        return {
            index: {"content": token, "special": token in roles, "normalized": token not in roles}
            for token, index in self._read("added_tokens.json").items()
        }

    def declared(
        self, ids: Mapping[str, int], *, special: Collection[str]
    ) -> dict[int, dict[str, Any]]:
        """Id to token, for the tokens of `ids` that only a list of special tokens makes special.

        transformers adds the tokens of such a list to the tokenizer when it is loaded. `special`:
        the tokens that are special already. Raises UserError if a token without an id would get a
        row of the word embedding.
        """
        if OPTIONS in self.settings:
            return {}
        found: dict[int, dict[str, Any]] = {}
        for name in self._listed_tokens():
            if name in special or SENTINEL.fullmatch(name) or UER_SENTINEL.fullmatch(name):
                continue
            if name in ids:
                found[ids[name]] = {"content": name, "special": True, "normalized": False}
            elif self.config.get("vocab_size", 0) > len(ids):
                raise UserError(
                    f"{self.folder}: {name!r} is in a list of special tokens only, and "
                    "transformers gives it a row of the word embedding when it loads the "
                    "tokenizer. Load the tokenizer with AutoTokenizer and call save_pretrained, "
                    "so that its id is in the files, or remove it from the list."
                )
        return found

    def _listed_tokens(self) -> list[str]:
        lists: list[Any] = []
        for content in (self.settings, self._read("special_tokens_map.json")):
            for key in _LISTS:
                value = content.get(key) or []
                lists += value.values() if isinstance(value, dict) else value
        named = (one.get("content") if isinstance(one, dict) else one for one in lists)
        return [name for name in dict.fromkeys(named) if isinstance(name, str)]

    @cached_property
    def roles(self) -> dict[str, str]:
        """Role to special token, as far as the folder names them."""
        # A null setting counts as absent.
        settings = {key: value for key, value in self.settings.items() if value is not None}
        return special_roles({**self._read("special_tokens_map.json"), **settings})

    def kind(self) -> str | None:
        """The type of the folder's vocabulary files; None for a tokenizer.json of another kind."""
        if self.sentencepiece_file is not None:
            return "sentencepiece"
        if (self.folder / "vocab.txt").exists():
            return "wordpiece"
        if (self.folder / "vocab.json").exists() and (self.folder / "merges.txt").exists():
            return "bpe"
        if self.pipeline is None:
            return None
        model = self.pipeline.model.get("type")
        if model == "BPE" and self.pipeline.word_mark == "Ġ":
            return "bpe"
        return "wordpiece" if model == "WordPiece" else None

    def lowercase(self, kind: str) -> bool:
        """Whether the folder's tokenizer lowercases text; `kind` is the type of its files."""
        if self.pipeline is not None:
            return self.pipeline.lowercases
        return bool(self.settings.get("do_lower_case", True)) and kind in WORD_LIST_TYPES

    def prefix_space(self) -> bool:
        """Whether a text is tokenised as if it started with a space."""
        if self.pipeline is None:
            return bool(self.settings.get("add_prefix_space"))
        steps = self.pipeline.steps("pre_tokenizer")
        return any(step.get("add_prefix_space") for step in steps)

    def vocab_file(self) -> Path:
        """The path of `vocab.txt`, or of a file with the vocabulary of `tokenizer.json`."""
        vocab = self.folder / "vocab.txt"
        if vocab.exists():
            return self._with_sentinels(vocab)
        assert self.pipeline is not None, "a word list comes from vocab.txt or tokenizer.json"
        tokens = "".join(f"{token}\n" for token in self.pipeline.tokens)
        return self._temporary_file("vocab.txt", tokens.encode("utf-8"))

    def _with_sentinels(self, vocab: Path) -> Path:
        """The vocabulary with sentinels named as in ptm.

        UER-py's T5 models on the Hub name them extra0; ptm names them <extra_id_0>.
        """
        text = read_text(vocab)
        if self.config.get("model_type") != "t5" or not UER_SENTINEL.search(text):
            return vocab
        return self._temporary_file(
            "vocab.txt", UER_SENTINEL.sub(r"<extra_id_\1>", text).encode("utf-8")
        )

    def bpe_files(self) -> dict[str, Path]:
        """The files of a `bpe` block, or copies of what tokenizer.json has instead.

        Raises UserError if the tokens mark the ends of words.
        """
        names = {"vocab": self.folder / "vocab.json", "merges": self.folder / "merges.txt"}
        if all(path.exists() for path in names.values()):
            if any(token.endswith("</w>") for token in self._read("vocab.json")):
                raise UserError(
                    f"{names['vocab']}: the tokens mark the ends of words with </w>, as in "
                    "OpenAI's first GPT. Put its tokenizer.json into the folder."
                )
            return names
        assert self.pipeline is not None, "merges come from merges.txt or tokenizer.json"
        vocab = json.dumps(self.pipeline.ids, ensure_ascii=False)
        merges = merges_text(self.pipeline.merges)
        return {
            "vocab": self._temporary_file("vocab.json", vocab.encode("utf-8")),
            "merges": self._temporary_file("merges.txt", merges.encode("utf-8")),
        }

    @cached_property
    def sentencepiece_file(self) -> Path | None:
        """The path of the SentencePiece model; None if absent."""
        paths = (self.folder / name for name in _SENTENCEPIECE)
        return next((path for path in paths if path.exists()), None)

    def written(
        self, content: Mapping[str, Any], lacking: Mapping[int, Mapping[str, Any]]
    ) -> PipelineFile:
        """A temporary tokenizer.json with `content` and the added tokens `lacking`."""
        text = with_tokens(content, lacking, source=str(self.folder))
        return read_pipeline_file(str(self._temporary_file(_PIPELINE, text.encode("utf-8"))))

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
