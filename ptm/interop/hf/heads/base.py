"""The interface of a head of transformers, such as that of `AutoModelForSequenceClassification`.

A head belongs to one file, the body before it to a family. `FamilyWithHead` puts them together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ptm.components.objectives import Objective
from ptm.errors import UserError
from ptm.interop.hf.model_config import ModelConfig
from ptm.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class HeadLayout:
    """The head of one family's models."""

    modules: Mapping[str, str]
    """Canonical names of the head's modules to transformers' full names, without `.weight` and
    `.bias`. The output layer is the last."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the objective that the head has in every model of the family; others have their
    defaults."""
    body_prefix: str | None = None
    """Prefix of the body's tensors, if it is another one than `Family.base_prefix`."""

    def read_options(self, config: ModelConfig) -> dict[str, Any]:
        """Options of the objective that the head of a model with this config has."""
        return dict(self.options)

    def config_keys(self, objective: Objective) -> dict[str, Any]:
        """Keys of the config that `read_options` reads."""
        return {}


class Head(ABC):
    """One `AutoModelFor…` class: which objectives it holds, its config keys, and its tensors."""

    suffix: ClassVar[str]
    """End of the names of the model classes, such as `ForSequenceClassification`."""
    pipeline_tag: ClassVar[str]
    """The Hub's name of the task."""
    note: ClassVar[str]
    """A sentence of the model card on the use of the model."""
    layouts: ClassVar[Mapping[str, HeadLayout]]
    """The head of each family that has one, by `Family.name`."""

    @property
    def auto_class(self) -> str:
        """The auto class of transformers that loads the models."""
        return f"AutoModel{self.suffix}"

    @abstractmethod
    def holds(self, objective: Objective) -> bool:
        """Whether the head is that of such objectives, whatever their options."""

    def obstacle(self, objective: Objective, vocabulary: Vocabulary) -> str | None:
        """Why no family's head can compute the objective; None if one may.

        A sentence with the fix, without a full stop. Options that the written config gives back
        need no check here: they are compared with the recipe's.
        """
        return None

    def exported(self, objective: Objective) -> tuple[Objective, tuple[str, ...]]:
        """The objective without the parts that an export leaves out, and a note for each."""
        return objective, ()

    @abstractmethod
    def config_keys(self, objective: Objective) -> dict[str, Any]:
        """Keys of the config beside those of the body."""

    @abstractmethod
    def objective_block(self, config: ModelConfig, outputs: int | None) -> dict[str, Any]:
        """The `objective` block of a recipe, without the options of `HeadLayout`.

        `outputs`: rows of the output layer; None without weights. Raises UserError for a head that
        no objective has.
        """


def label_keys(names: tuple[str, ...]) -> dict[str, Any]:
    """The keys `id2label` and `label2id` of a config."""
    return {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }


_DEFAULT_LABELS = 2
"""The number of labels of a config that does not say it."""


def read_label_names(config: ModelConfig, outputs: int | None) -> tuple[str, ...]:
    """The names of the labels in the order of the outputs.

    `LABEL_0`, `LABEL_1` … if the config has none. Raises UserError if the config contradicts
    itself or the number of `outputs`.
    """
    named = config.get("id2label")
    if named is not None and not isinstance(named, Mapping):
        raise UserError("config.json: id2label is not an object")
    count = config.get("num_labels", config.get("_num_labels", outputs or _DEFAULT_LABELS))
    found = (
        tuple(f"LABEL_{index}" for index in range(count))
        if named is None
        else tuple(str(named.get(str(index), named.get(index))) for index in range(len(named)))
    )
    if named is not None and {str(key) for key in named} != set(map(str, range(len(named)))):
        raise UserError("config.json: the keys of id2label are not the numbers from 0 on")
    if outputs is not None and len(found) != outputs:
        raise UserError(
            f"config.json: id2label has {len(found)} labels, but the output layer has {outputs} "
            "rows"
        )
    return found
