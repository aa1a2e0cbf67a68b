"""The keys that the installed DeepSpeed reads; run as a script, it rewrites `ds_keys.json`."""

from __future__ import annotations

import json
import os
import typing
from pathlib import Path
from typing import Any

LIST = Path(__file__).parents[3] / "ptm" / "engines" / "ds_keys.json"


class _Recorder(dict[str, Any]):
    """A configuration that records every key that is read or looked up."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.read_keys: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read_keys.add(key)
        return super().get(key, default)

    def __contains__(self, key: object) -> bool:
        self.read_keys.add(str(key))
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.read_keys.add(key)
        return super().__getitem__(key)

    def keys(self) -> Any:
        return _RecordedKeys(self)

    def copy(self) -> _Recorder:
        return self

    def __deepcopy__(self, memo: object) -> _Recorder:
        return self


class _RecordedKeys(list[str]):
    def __init__(self, owner: _Recorder) -> None:
        super().__init__(dict.keys(owner))
        self._owner = owner

    def __contains__(self, key: object) -> bool:
        return key in self._owner


def _fields(model: type[Any]) -> dict[str, type[Any] | None]:
    """Map each field (or its alias) to its nested config model, or None."""
    found: dict[str, type[Any] | None] = {}
    for name, field in model.model_fields.items():
        kinds = [field.annotation, *typing.get_args(field.annotation)]
        nested = next((kind for kind in kinds if hasattr(kind, "model_fields")), None)
        found[field.alias or name] = nested
    return found


def installed_keys() -> dict[str, list[str]]:
    """Return the installed DeepSpeed's keys by dotted block."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    from deepspeed.runtime.config import DeepSpeedConfig
    from deepspeed.runtime.precision_config import DeepSpeedBF16Config, DeepSpeedFP16Config
    from deepspeed.runtime.swap_tensor.aio_config import AIO_DEFAULT_DICT
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    read_keys = _Recorder({"train_batch_size": 1})
    DeepSpeedConfig(read_keys)
    keys = {"": sorted(read_keys.read_keys)}
    todo: list[tuple[str, type[Any]]] = [
        ("zero_optimization", DeepSpeedZeroConfig),
        ("bf16", DeepSpeedBF16Config),
        ("fp16", DeepSpeedFP16Config),
    ]
    while todo:
        at, model = todo.pop()
        fields = _fields(model)
        keys[at] = sorted(fields)
        todo += [(f"{at}.{name}", nested) for name, nested in fields.items() if nested]
    keys["data_types"] = ["grad_accum_dtype"]
    keys["aio"] = sorted(AIO_DEFAULT_DICT)
    return keys


if __name__ == "__main__":
    LIST.write_text(json.dumps(installed_keys(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
