from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.engines.ds_config import differences_from_recipe, ds_config, known_keys
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.recipe import Recipe, batch_plan

Load = Callable[..., Recipe]
Config = dict[str, Any]

BATCH = batch_plan(global_batch_size=8, max_micro_batch_size=4, ranks=1)


@pytest.fixture
def merged(load: Load, tmp_path: Path) -> Callable[..., Config]:
    """Returns the configuration merged from the recipe and the given JSON."""

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


def test_values_of_the_recipe_are_written_to_the_configuration(merged: Merged) -> None:
    config = merged({"zero_optimization": {"stage": 3}}, "train.gradient_clipping=0.5")
    assert config["train_batch_size"] == 8
    assert config["train_micro_batch_size_per_gpu"] == 4
    assert config["gradient_accumulation_steps"] == 2
    assert config["gradient_clipping"] == 0.5
    assert config["bf16"]["enabled"] is False


@pytest.mark.parametrize(
    ("ranks", "precision", "found"),
    [
        (1, "fp32", ["ZeRO stage 0 replaces stage 1", "gradients to a norm of 0.5"]),
        (2, "fp32", []),
        (1, "bf16", []),
    ],
)
def test_what_the_configuration_changes_of_the_recipe_is_explained(
    load: Load, ranks: int, precision: str, found: list[str]
) -> None:
    overrides = (f"engine.precision={precision}", "train.gradient_clipping=0.5")
    recipe = load("engine.deepspeed=zero1", *overrides)
    batch = batch_plan(global_batch_size=8, max_micro_batch_size=4, ranks=ranks)
    sentences = differences_from_recipe(recipe, ds_config(recipe, batch))
    assert len(sentences) == len(found)
    assert all(part in one for part, one in zip(found, sentences, strict=True))


def test_settings_owned_by_the_json_are_kept(merged: Merged) -> None:
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
def test_an_unknown_key_is_rejected_with_the_nearest_known_one(
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
def test_a_value_that_contradicts_the_recipe_is_rejected_with_both_values(
    merged: Merged, config: Config, key: str, found: str, recipe: str
) -> None:
    with pytest.raises(UserError, match=rf"{key} = {found}, but the recipe gives {recipe}"):
        merged(config)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_value_equal_to_the_recipes_is_accepted(merged: Merged, stage: int) -> None:
    same = {"train_batch_size": 8, "gradient_clipping": 1.0, "bf16": {"enabled": False}}
    merged({"zero_optimization": {"stage": stage}, **same}, "train.gradient_clipping=1.0")


def test_auto_takes_the_value_of_the_recipe(merged: Merged) -> None:
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
def test_keys_that_belong_to_the_recipe_are_rejected_with_the_recipe_key(
    merged: Merged, key: str, value: Config, owner: str
) -> None:
    with pytest.raises(UserError, match=rf"{key} = .* belongs to the recipe \({owner}\)"):
        merged({key: value})


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"zero_optimization": {"stage": 1},}'])
def test_a_file_without_a_json_object_is_rejected_by_name(merged: Merged, text: str) -> None:
    with pytest.raises(UserError, match=r"ds\.json"):
        merged(text)


@pytest.mark.parametrize("zero", [True, "one", {"stage": "two"}, {"stage": 7}, {"stage": None}])
def test_an_invalid_zero_stage_is_rejected_with_file_and_key(merged: Merged, zero: object) -> None:
    with pytest.raises(UserError, match=r"ds\.json.*zero_optimization"):
        merged({"zero_optimization": zero})


WHOLE = {
    "adafactor": "optimizer={type: adafactor}",
    "lamb": "optimizer={type: lamb, learning_rate: 1e-3}",
    "muon": "optimizer={type: muon, learning_rate: 1e-3}",
    "stable_adamw": "optimizer={type: stable_adamw, learning_rate: 1e-3}",
}


@pytest.mark.parametrize("engine", ["zero1", "zero2-offload", "zero3"])
@pytest.mark.parametrize("name", WHOLE)
def test_an_optimizer_that_needs_whole_matrices_is_rejected_under_zero(
    load: Load, name: str, engine: str
) -> None:
    assert ds_config(load(WHOLE[name], "engine.deepspeed=zero0"), BATCH)
    expected = f"optimizer.type = {name} .* ZeRO stage {engine[4]} .* Set engine.deepspeed: zero0"
    with pytest.raises(UserError, match=expected):
        ds_config(load(WHOLE[name], f"engine.deepspeed={engine}"), BATCH)


@pytest.mark.parametrize("kind", ["adamw", "lion"])
def test_an_elementwise_optimizer_is_accepted_with_every_tested_configuration(
    load: Load, project: Path, kind: str
) -> None:
    block = f"optimizer={{type: {kind}, learning_rate: 1e-4}}"
    for path in (project / "ds_configs").glob("*.json"):
        config = load(block, f"engine.deepspeed={path.stem}")
        if (kind, path.stem) != ("lion", "zero3-nvme"):
            ds_config(config, BATCH)


def test_lion_is_rejected_with_its_state_on_nvme(load: Load) -> None:
    lion = load("optimizer={type: lion, learning_rate: 1e-4}", "engine.deepspeed=zero3-nvme")
    sentence = "optimizer.type = lion has not been tested with its state on NVMe .*zero3-offload"
    with pytest.raises(UserError, match=sentence):
        ds_config(lion, BATCH)


def test_an_unknown_configuration_is_rejected_with_the_nearest_known_one(load: Load) -> None:
    with pytest.raises(
        UserError, match=r'ds_configs/zer1\.json does not exist.*Did you mean "zero1"'
    ):
        ds_config(load("engine.deepspeed=zer1"), BATCH)


@pytest.mark.parametrize("name", ["nowhere.json", "./nowhere"])
def test_a_missing_file_is_rejected_by_name(load: Load, name: str) -> None:
    with pytest.raises(UserError, match=rf'engine\.deepspeed: "{name}" is not a file'):
        ds_config(load(f"engine.deepspeed={name}"), BATCH)


def test_the_known_keys_are_those_of_the_installed_deepspeed(project: Path) -> None:
    # In a separate process, because importing DeepSpeed sets an accelerator and loggers.
    show = (
        "import json, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from ds_keys import installed_keys\n"
        "print('\\n' + json.dumps(installed_keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show, str(project / "tests" / "unit" / "engines")],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == known_keys()


CPU = {"device": "cpu"}
NVME = {"device": "nvme", "nvme_path": "/tmp"}
IGNORED = "ptm: ds.json: offload needs ZeRO, and DeepSpeed ignores it at zero_optimization."
OFFLOAD = {
    "optimizer at stage 0": ({"stage": 0, "offload_optimizer": CPU}, IGNORED + "stage = 0"),
    "parameters at no stage": ({"offload_param": CPU}, IGNORED + "stage = 0. Set stage 1, 2 or 3"),
    "parameters at stage 2": (
        {"stage": 2, "offload_param": CPU},
        "offload_param needs stage 3, and DeepSpeed ignores it at stage 2. Set stage 3 or",
    ),
    "parameters at stage 1": ({"stage": 1, "offload_param": CPU}, "ignores it at stage 1"),
    "optimizer on NVMe at stage 2": (
        {"stage": 2, "offload_optimizer": NVME},
        'device = "nvme" needs stage 3, and DeepSpeed ignores it at stage 2. Set stage 3',
    ),
    "optimizer on NVMe at stage 1": (
        {"stage": 1, "offload_optimizer": NVME},
        'device = "nvme" needs stage 3, and DeepSpeed ignores it at stage 1',
    ),
    "round robin": (
        {"stage": 2, "round_robin_gradients": True},
        "round_robin_gradients = true is not supported: it reorders parameters, so checkpoints wou",
    ),
    "old optimizer key": (
        {"stage": 2, "cpu_offload": True},
        'cpu_offload is a key of earlier DeepSpeed versions. Write "offload_optimizer": {"dev',
    ),
    "old parameter key": (
        {"stage": 3, "cpu_offload_param": True},
        'cpu_offload_param is a key of earlier DeepSpeed versions. Write "offload_param": {',
    ),
    "part of the optimizer": (
        {"stage": 3, "offload_optimizer": {**CPU, "ratio": 0.5}},
        "offload_optimizer: ratio below 1 and super_offload need one of DeepSpeed's own optimizers",
    ),
    "super offload": (
        {"stage": 3, "offload_optimizer": {**CPU, "super_offload": True}},
        "ratio below 1 and super_offload need one of DeepSpeed's own optimizers, which",
    ),
    "too few buffers": (
        {"stage": 3, "offload_optimizer": {**NVME, "buffer_count": 3}},
        "offload_optimizer.buffer_count = 3 is too small. Set 4 or more.",
    ),
    "too few buffers for reading ahead": (
        {"stage": 3, "offload_optimizer": {**NVME, "pipeline_read": True}},
        "offload_optimizer.buffer_count = 4 is too small. Set 8 or more.",
    ),
    "too few buffers for both": (
        {"stage": 3, "offload_optimizer": {**NVME, "pipeline_read": True, "pipeline_write": True}},
        "offload_optimizer.buffer_count = 4 is too small. Set 12 or more.",
    ),
    "no path for the optimizer": (
        {"stage": 3, "offload_optimizer": {"device": "nvme"}},
        "offload_optimizer.nvme_path is missing or not a path. Set it to a folder on a fast local ",
    ),
    "no path for the parameters": (
        {"stage": 3, "offload_param": {"device": "nvme"}, "stage3_prefetch_bucket_size": 0},
        "zero_optimization.offload_param.nvme_path is missing",
    ),
    "parameters on NVMe, read ahead": (
        {"stage": 3, "offload_param": NVME},
        "works only with stage3_prefetch_bucket_size = 0: otherwise DeepSpeed reads a parameter tw",
    ),
    "another device": (
        {"stage": 3, "offload_optimizer": {"device": "disk"}},
        'offload_optimizer = {"device": "disk"} does not name an offload device. Write a block',
    ),
    "no block": (
        {"stage": 3, "offload_param": "cpu"},
        'offload_param = "cpu" does not name an offload device. Write a block such as {"device": "',
    ),
}


@pytest.fixture
def validate(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Returns the error of `ptm validate` for a JSON with this ZeRO block; "" if it is valid."""
    load()

    def message(block: object) -> str:
        path = tmp_path / "ds.json"
        path.write_text(json.dumps({"zero_optimization": block}))
        code = main(["validate", str(tmp_path / "recipe.yaml"), f"engine.deepspeed={path}"])
        captured = capsys.readouterr()
        assert (code, bool(captured.out)) == (
            (EXIT_USER, False) if captured.err else (EXIT_DONE, True)
        )
        return captured.err.replace(str(path), "ds.json")

    return message


@pytest.mark.parametrize("case", OFFLOAD)
def test_offload_that_is_ignored_or_fails_later_is_rejected_with_one_sentence(
    validate: Callable[..., str], case: str
) -> None:
    block, expected = OFFLOAD[case]
    (message,) = validate(block).splitlines()
    assert message.startswith("ptm: ds.json: ")
    assert expected in message


@pytest.mark.parametrize(("key", "value"), [("nvme_path", 5), ("buffer_count", "8")])
def test_an_offload_option_of_another_type_is_rejected_by_name(
    validate: Callable[..., str], key: str, value: object
) -> None:
    assert key in validate({"stage": 3, "offload_optimizer": {**NVME, key: value}})


@pytest.mark.parametrize(
    "block",
    [
        {"stage": 0, "offload_optimizer": {"device": "none"}},
        {"stage": 1, "offload_optimizer": CPU},
        {"stage": 2, "offload_optimizer": CPU, "offload_param": None},
        {"stage": 3, "offload_param": CPU},
        {"stage": 2, "cpu_offload": False, "round_robin_gradients": False},
    ],
)
def test_offload_that_works_is_valid(validate: Callable[..., str], block: object) -> None:
    assert not validate(block)


def test_offload_to_the_cpu_is_validated_without_deepspeed(load: Load, tmp_path: Path) -> None:
    load()
    validate = (
        "import sys; from ptm.cli import main\n"
        "codes = [main(['validate', sys.argv[1], f'engine.deepspeed={name}'])\n"
        "         for name in ('zero2-offload', 'zero3-offload')]\n"
        "print('\\n', codes, 'deepspeed' in sys.modules)"
    )
    command = [sys.executable, "-c", validate, str(tmp_path / "recipe.yaml")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1].strip() == "[0, 0] False"
