from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptm.errors import UserError
from ptm.recipe import Recipe, batch_plan
from ptm.train.ds_config import ds_config, known_keys

Load = Callable[..., Recipe]
Config = dict[str, Any]

BATCH = batch_plan(global_rows=8, most_micro_rows=4, ranks=1)


@pytest.fixture
def merged(load: Load, tmp_path: Path) -> Callable[..., Config]:
    """The configuration that comes of the recipe and this JSON."""

    def merge(config: object, *overrides: str) -> Config:
        path = tmp_path / "ds.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return ds_config(load(f"engine.deepspeed={path}", *overrides), BATCH)

    return merge


Merged = Callable[..., Config]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_configuration_of_the_project_is_valid(
    load: Load, project: Path, precision: str
) -> None:
    names = sorted(path.stem for path in (project / "ds_configs").glob("*.json"))
    assert "zero1" in names
    for name in names:
        ds_config(load(f"engine.deepspeed={name}", f"engine.precision={precision}"), BATCH)


def test_what_the_recipe_owns_is_written_out(merged: Merged) -> None:
    config = merged({"zero_optimization": {"stage": 1}}, "train.gradient_clipping=0.5")
    assert config["train_batch_size"] == 8
    assert config["train_micro_batch_size_per_gpu"] == 4
    assert config["gradient_accumulation_steps"] == 2
    assert config["gradient_clipping"] == 0.5
    assert config["bf16"] == {"enabled": False}


def test_what_the_json_owns_is_kept(merged: Merged) -> None:
    zero = {"stage": 2, "reduce_bucket_size": 1000, "offload_optimizer": {"device": "cpu"}}
    assert merged({"zero_optimization": zero})["zero_optimization"] == zero


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"zero_optimisation": {}}, r'zero_optimisation is .*mean "zero_optimization"'),
        ({"zero_optimization": {"stag": 1}}, r'zero_optimization\.stag is .*mean "stage"'),
        (
            {"zero_optimization": {"offload_optimizer": {"devise": "cpu"}}},
            r'zero_optimization\.offload_optimizer\.devise is .*mean "device"',
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(
    merged: Merged, config: Config, expected: str
) -> None:
    with pytest.raises(UserError, match=rf"ds\.json: {expected}"):
        merged(config)


@pytest.mark.parametrize(
    ("config", "key", "found", "recipe"),
    [
        ({"train_batch_size": 16}, "train_batch_size", "16", "8"),
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps", "1", "2"),
        (
            {"zero_optimization": {"stage": 1}, "gradient_clipping": 2.0},
            "gradient_clipping",
            "2.0",
            "1.0",
        ),
        ({"bf16": {"enabled": True}}, r"bf16\.enabled", "true", "false"),
    ],
)
def test_a_value_other_than_the_recipes_is_refused_with_both(
    merged: Merged, config: Config, key: str, found: str, recipe: str
) -> None:
    with pytest.raises(UserError, match=rf"{key} = {found}, but the recipe gives {recipe}"):
        merged(config)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_value_that_is_the_recipes_is_no_contradiction(merged: Merged, stage: int) -> None:
    same = {"train_batch_size": 8, "gradient_clipping": 1.0, "bf16": {"enabled": False}}
    merged({"zero_optimization": {"stage": stage}, **same}, "train.gradient_clipping=1.0")


def test_auto_leaves_a_value_to_the_recipe(merged: Merged) -> None:
    assert merged({"train_batch_size": "auto"})["train_batch_size"] == 8


@pytest.mark.parametrize(
    ("key", "value", "owner"),
    [
        ("optimizer", {"type": "Adam"}, "optimizer"),
        ("scheduler", {"type": "WarmupLR"}, "schedule"),
        ("fp16", {"enabled": True}, r"engine\.precision"),
        ("amp", {"enabled": True}, r"engine\.precision"),
        ("bfloat16", {"enabled": True}, r"engine\.precision"),
    ],
)
def test_what_belongs_to_the_recipe_is_refused_by_its_key(
    merged: Merged, key: str, value: Config, owner: str
) -> None:
    with pytest.raises(UserError, match=rf"{key} = .* belongs to the recipe \({owner}\)"):
        merged({key: value})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"zero_optimization": {"stage": 1},}'])
def test_what_is_no_json_object_is_refused_by_name(merged: Merged, text: str) -> None:
    with pytest.raises(UserError, match=r"ds\.json"):
        merged(text)


@pytest.mark.parametrize("zero", [True, "one", {"stage": "two"}, {"stage": 7}, {"stage": None}])
def test_a_zero_stage_that_is_none_is_refused_by_name(merged: Merged, zero: object) -> None:
    with pytest.raises(UserError, match=r"ds\.json.*zero_optimization"):
        merged({"zero_optimization": zero})


def test_an_unknown_configuration_is_refused_with_the_nearest(load: Load) -> None:
    with pytest.raises(UserError, match=r'no ds_configs/zer1\.json.*Did you mean "zero1"'):
        ds_config(load("engine.deepspeed=zer1"), BATCH)


@pytest.mark.parametrize("name", ["nowhere.json", "./nowhere"])
def test_a_missing_file_is_refused_by_name(load: Load, name: str) -> None:
    with pytest.raises(UserError, match=rf'engine\.deepspeed: "{name}" is not a file'):
        ds_config(load(f"engine.deepspeed={name}"), BATCH)


def test_the_known_keys_are_those_of_the_installed_deepspeed(project: Path) -> None:
    # In a process of its own: whoever imports DeepSpeed sets an accelerator and loggers.
    show = (
        "import json, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ds_keys import installed_keys\n"
        "print('\\n' + json.dumps(installed_keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show, str(project / "tests" / "train")],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == known_keys()
