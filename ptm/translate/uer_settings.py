"""The settings of one UER-py training: its command lines, its configuration, the defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.translate.options import Given, Option
from ptm.translate.uer_models import published_config

_PROCESSOR_OF_TARGET = {"seq2seq": "mt", "s2s": "mt", "pegasus": "gsg"}
"""Values of --target before 2022 whose data processor has another name."""
_SIZES = (
    *("hidden_size", "emb_size", "layers_num", "heads_num", "feedforward_size", "kernel_size"),
    *("block_size", "max_seq_length", "decoder_layers_num", "attention_head_size"),
    *("local_kv_heads_num", "relative_attention_buckets_num"),
)
_ALSO_KNOWN = (
    "hidden_act",
    "stream_0",
    "stream_1",
    "use_alibi",
    "share_relative_position_embedding",
)
_OBJECTIVES = {"mt": "seq2seq", "cls": "classification", "cls_mlm": "classification"}


@dataclass(frozen=True)
class UerSettings:
    """What a preprocess.py line and a pretrain.py line set.

    As in UER-py, the command line takes precedence over the configuration file, and the file over
    the defaults.
    """

    preprocess: Given
    pretrain: Given
    config_path: str
    config: Mapping[str, Any]

    @classmethod
    def of(cls, preprocess: Given, pretrain: Given) -> UerSettings:
        """Read the configuration that the line names.

        Raises UserError if it is absent and not published by UER-py, is not JSON, or has a value
        of the wrong type.
        """
        path = pretrain.get("config_path")
        if Path(path).exists():
            config: Mapping[str, Any] = read_config(Path(path))
        else:
            published = published_config(path)
            if published is None:
                raise UserError(
                    f"{path}: does not exist, and is not one of the files that UER-py publishes "
                    "in models/. Run `ptm translate` in the folder that the path starts from."
                )
            config = published
        _check_types(path, config, pretrain.table)
        return cls(preprocess, pretrain, path, config)

    @property
    def processor(self) -> str:
        """UER-py's data processor: `--data_processor`, or `--target` before 2022.

        Raises UserError if the two lines contradict each other.
        """
        lines = [line for line in (self.pretrain, self.preprocess) if self._processor_on(line)]
        named = [self._processor_on(line) for line in lines]
        if len(set(named)) > 1:
            raise UserError(
                f"pretrain.py has {self._written_processor(lines[0])}, but preprocess.py has "
                f"{self._written_processor(lines[1])}. Both must name the same data processor."
            )
        if named:
            return str(named[0])
        target = self.config.get("target", "bert")
        former = target if isinstance(target, str) else "bert"
        return str(self.config.get("data_processor", _PROCESSOR_OF_TARGET.get(former, former)))

    @property
    def objective(self) -> str:
        """The objective's type here."""
        return _OBJECTIVES.get(self.processor, self.processor)

    def _processor_on(self, line: Given) -> str | None:
        if line.has("data_processor"):
            return str(line.get("data_processor"))
        if self.pretrain.has("data_processor") or self.preprocess.has("data_processor"):
            return None
        targets = line.values.get("target", [])
        if len(targets) > 1 and not set(targets) <= set(line.table["target"].choices):
            raise UserError(
                f"{line.command.place}: {line.written['target']} mixes targets of two versions "
                "of UER-py. Give one data processor, or targets of mlm, sp, lm, bilm and cls."
            )
        if len(targets) != 1 or targets[0] == "sp":
            return None
        return str(_PROCESSOR_OF_TARGET.get(targets[0], targets[0]))

    def _written_processor(self, line: Given) -> str:
        return line.written.get("data_processor") or line.written["target"]

    def get(self, name: str) -> Any:
        """The value of an option of pretrain.py, or of preprocess.py if only that has it."""
        if name in self.pretrain.values:
            return self.pretrain.values[name]
        if name in self.config:
            return self.config[name]
        if name in self.preprocess.values or name not in self.pretrain.table:
            return self.preprocess.get(name)
        return self.pretrain.get(name)

    def given(self, name: str) -> bool:
        """Whether a command line gives the option."""
        return self.pretrain.has(name) or self.preprocess.has(name)

    def written(self, name: str) -> str:
        """An option as it is written on a line that gives it."""
        line = self.pretrain if self.pretrain.has(name) else self.preprocess
        return line.written[name]

    def origin(self, name: str) -> str:
        """Where the value of an option comes from, as a comment."""
        if not self.pretrain.has(name) and name in self.config:
            return self.config_path
        option = self.option(name)
        return option.name if self.given(name) else f"default of {option.name}"

    def option(self, name: str) -> Option:
        """The option of a name without dashes."""
        return self.pretrain.table.get(name) or self.preprocess.table[name]

    def size(self, name: str, default: int | None = None) -> int:
        """A size of the model. Raises UserError if the configuration lacks it."""
        value = self.pretrain.values.get(name, self.config.get(name, default))
        if value is None:
            raise UserError(f'{self.config_path}: the key "{name}" is missing.')
        return int(value)

    def parts(self, name: str) -> list[str]:
        """The parts of `--embedding` or `--tgt_embedding`, also in the spellings before 2023."""
        former = {"bert": "word_pos_seg", "gpt": "word_pos", "gpt2": "word_pos"}
        if not (self.pretrain.has(name) or name in self.config):
            # A file without the key is older than the default ["word"] of 2023.
            return ["word", "pos", "seg"] if name == "embedding" else self.parts("embedding")
        value = self.get(name)
        listed = [value] if isinstance(value, str) else list(value)
        whole = [former.get(one, one) for one in listed]
        split = [part for one in whole for part in one.split("_")]
        return ["sinusoidalpos" if part == "sinusoidal" else part for part in split]


def _check_types(path: str, config: Mapping[str, Any], table: Mapping[str, Option]) -> None:
    """Raise UserError for a value of a configuration whose type is not that of its option."""
    for key, value in config.items():
        option = table.get(key)
        if key in _SIZES:
            right = isinstance(value, int) and not isinstance(value, bool) and value > 0
            wanted = "a positive integer"
        elif option is None:
            continue
        elif option.kind in ("flag", "switch"):
            right, wanted = isinstance(value, bool), "true or false"
        elif option.kind in ("integer", "number"):
            right = isinstance(value, int | float) and not isinstance(value, bool)
            wanted = "a number"
        else:
            right = value is None or isinstance(value, str) or (option.many and _is_list(value))
            wanted = "a list of texts" if option.many else "a text"
        if not right:
            raise UserError(f"{path}: {key} = {json.dumps(value)} is not {wanted}.")
    if "stream_0" in config:
        raise UserError(f"{path}: models of two streams (siamese networks) are not implemented.")


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def unknown_keys(config: Mapping[str, Any], table: Mapping[str, Option]) -> list[str]:
    """Keys of a configuration that are neither options nor sizes."""
    return [key for key in config if key not in table and key not in (*_SIZES, *_ALSO_KNOWN)]
