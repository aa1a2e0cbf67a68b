"""DeepSpeed's configuration: the project's JSON and the recipe, merged and checked against both.

The recipe owns batch sizes, precision, clipping, optimizer and schedule; the JSON owns ZeRO stage,
offload, buckets and communication. A key that both give must have one value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from ptm.components.optimizers import Optimizer
from ptm.engines.offload import check_offload, with_run_folders
from ptm.errors import UserError, nearest
from ptm.files.bundled import bundled
from ptm.files.user_files import read_json
from ptm.recipe import BatchPlan, Recipe
from ptm.recipe.blocks import EngineBlock, TrainBlock

_KNOWN_KEYS = Path(__file__).with_name("ds_keys.json")
# Keys of the JSON that set what the recipe owns -> the recipe key.
_OWNED = {
    "optimizer": "optimizer",
    "scheduler": "schedule",
    "fp16": "engine.precision",
    "bfloat16": "engine.precision",
    "amp": "engine.precision",
    "torch_autocast": "engine.precision",
    "tensorboard": "tracking.tensorboard",
    "wandb": "tracking.wandb",
    "csv_monitor": "metrics.jsonl has every report",
    "checkpoint": "checkpoint",
}
# DeepSpeed features that `ptm` does not support: they would fail later or change the training.
_UNSUPPORTED = {
    "": (
        "autotuning",
        "comet",
        "compression_training",
        "curriculum_learning",
        "data_efficiency",
        "eigenvalue",
        "elasticity",
        "hybrid_engine",
        "progressive_layer_drop",
        "sparse_attention",
        "tensor_parallel",
    ),
    "zero_optimization": (
        "mics_shard_size",
        "zenflow",
        "zero_hpz_partition_size",
        "zero_quantized_gradients",
        "zero_quantized_nontrainable_weights",
        "zero_quantized_weights",
    ),
}


def find_ds_config(name: str) -> Path:
    """Return the file that `engine.deepspeed` names. Raises UserError if it does not exist."""
    if "/" in name or name.endswith(".json"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f'engine.deepspeed: "{name}" is not a file.')
        return path
    folders = [Path("ds_configs"), *filter(None, [bundled("ds_configs")])]
    for folder in folders:
        if (folder / f"{name}.json").is_file():
            return folder / f"{name}.json"
    known = {path.stem for folder in folders for path in folder.glob("*.json")}
    raise UserError(
        f"engine.deepspeed: ds_configs/{name}.json does not exist.{nearest(name, known)}"
    )


def ds_config(recipe: Recipe, batch: BatchPlan) -> dict[str, Any]:
    """Return the configuration for DeepSpeed: the recipe's values merged into the JSON.

    Raises UserError for unknown or unsupported keys and for values that contradict the recipe.
    """
    path = find_ds_config(recipe.engine.deepspeed)
    config = _read(path)
    for key, owner in _OWNED.items():
        if key in config:
            raise UserError(
                f"{path}: {key} = {json.dumps(config[key])} belongs to the recipe ({owner}). "
                f"Remove it from {path.name}."
            )
    _check_zero_stage(config, path)
    _check_unsupported(config, path)
    check_offload(config, path)
    _check_pipeline(recipe.engine, config)
    _check_whole_parameters(recipe.engine, recipe.optimizer, config)
    _check_nvme(recipe.engine, recipe.optimizer, config)
    owned = _owned_by_recipe(recipe.engine, recipe.train, batch)
    merged = _merged(config, owned, path)
    if recipe.engine.precision == "bf16" and zero_stage(config) > 0:
        # Accumulation in bf16 loses small gradients. Stage 0 has no such option.
        merged = _merged(merged, {"data_types": {"grad_accum_dtype": "fp32"}}, path)
    if _needs_no_partition(recipe.engine, batch, config):
        merged["zero_optimization"] = {**merged["zero_optimization"], "stage": 0}
    if clips_itself(recipe.engine, zero_stage(merged)):
        merged["gradient_clipping"] = 0.0
    return with_run_folders(merged, Path(recipe.runs_dir) / recipe.name)


def differences_from_recipe(recipe: Recipe, config: Mapping[str, Any]) -> list[str]:
    """Why the ZeRO stage and the clipping in `config` are not those that the recipe requests.

    `config`: the result of `ds_config`. Returns one sentence per difference.
    """
    found = []
    path = find_ds_config(recipe.engine.deepspeed)
    wanted, stage = zero_stage(_read(path)), zero_stage(config)
    if stage != wanted:
        found.append(
            f"ZeRO stage {stage} replaces stage {wanted}, because one rank has nothing to partition"
        )
    norm = recipe.train.gradient_clipping
    if norm and not config["gradient_clipping"]:
        found.append(
            f"gradient_clipping is 0, because ptm itself clips the gradients to a norm of {norm:g}"
        )
    return found


def _check_zero_stage(config: dict[str, Any], path: Path) -> None:
    block = config.get("zero_optimization", {})
    stage = block.get("stage", 0) if isinstance(block, dict) else block
    if not isinstance(block, dict) or isinstance(stage, bool) or stage not in (0, 1, 2, 3):
        raise UserError(
            f"{path}: zero_optimization.stage = {json.dumps(stage)} is not a ZeRO stage. Set 0, 1, "
            '2 or 3, as in {"zero_optimization": {"stage": 1}}.'
        )


def _check_unsupported(config: dict[str, Any], path: Path) -> None:
    for block, keys in _UNSUPPORTED.items():
        given = config.get(block, {}) if block else config
        for key in keys:
            if given.get(key):
                dotted = f"{block}.{key}" if block else key
                raise UserError(
                    f"{path}: {dotted} is a DeepSpeed feature that ptm does not support. "
                    f"Remove it from {path.name}."
                )


def _check_pipeline(engine: EngineBlock, config: dict[str, Any]) -> None:
    stages, stage = engine.pipeline_stages, zero_stage(config)
    if stages > 1 and stage != 1:
        why = (
            "which counts the gradients of tied weights twice when it clips"
            if stage == 0
            else "which partitions gradients that a pipeline is still accumulating"
        )
        raise UserError(
            f"engine.pipeline_stages = {stages} cannot be combined with ZeRO stage {stage} "
            f"(engine.deepspeed = {engine.deepspeed}), {why}. Pipeline stages need ZeRO 1. Set "
            "engine.pipeline_stages: 1 or engine.deepspeed: pipeline."
        )


def _check_whole_parameters(
    engine: EngineBlock, optimizer: Optimizer, config: dict[str, Any]
) -> None:
    stage = zero_stage(config)
    if optimizer.needs_whole_parameters and stage > 0:
        raise UserError(
            f"optimizer.type = {optimizer.type} needs whole matrices, but ZeRO stage {stage} "
            f"(engine.deepspeed = {engine.deepspeed}) gives the optimizer flat partitions. "
            "Set engine.deepspeed: zero0 or optimizer.type: adamw."
        )


def _check_nvme(engine: EngineBlock, optimizer: Optimizer, config: dict[str, Any]) -> None:
    offload = config.get("zero_optimization", {}).get("offload_optimizer") or {}
    if offload.get("device") == "nvme" and not optimizer.tested_on_nvme:
        raise UserError(
            f"optimizer.type = {optimizer.type} has not been tested with its state on NVMe "
            f'(engine.deepspeed = {engine.deepspeed}). Set offload_optimizer.device: "cpu" there, '
            "engine.deepspeed: zero3-offload or optimizer.type: adamw."
        )


def zero_stage(config: Mapping[str, Any]) -> int:
    """Return the ZeRO stage of a configuration; 0 if not given."""
    return int(config.get("zero_optimization", {}).get("stage", 0))


def _needs_no_partition(engine: EngineBlock, batch: BatchPlan, config: dict[str, Any]) -> bool:
    """Return whether ZeRO 1 or 2 has a single rank to partition over, so that stage 0 will do.

    In fp32, DeepSpeed would keep a second copy of all weights and gradients for the partitions.
    """
    zero = config.get("zero_optimization", {})
    return (
        batch.ranks == engine.pipeline_stages == 1
        and engine.precision == "fp32"
        and zero_stage(config) in (1, 2)
        and not zero.get("offload_optimizer")
    )


def clips_itself(engine: EngineBlock, stage: int) -> bool:
    """Return whether the engine of `ptm` clips gradients instead of DeepSpeed.

    At stage 0 in fp32, DeepSpeed computes the norm in fp32, which is off by some 1e-4 for an
    embedding's gradients, and does not report it; from stage 1 on it uses fp64.
    """
    return stage == 0 and engine.precision == "fp32"


def _owned_by_recipe(engine: EngineBlock, train: TrainBlock, batch: BatchPlan) -> dict[str, Any]:
    precision, scale = engine.precision, engine.loss_scale
    owned: dict[str, Any] = {
        "train_batch_size": batch.global_batch_size,
        "train_micro_batch_size_per_gpu": batch.micro_batch_size,
        "gradient_accumulation_steps": batch.accumulation,
        "gradient_clipping": train.gradient_clipping,
        "bf16": {"enabled": precision == "bf16", "check_grad_overflow": True},
        "fp16": {"enabled": False},
        # DeepSpeed calls torch's own optimizers untested.
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 2**62,
        "wall_clock_breakdown": False,
        # DeepSpeed's timer waits for the GPU twice per micro-batch; `ptm` measures the rate itself.
        "timers": {"throughput": {"enabled": False}},
    }
    if precision == "fp16":
        owned["fp16"] = {
            "enabled": True,
            "loss_scale": 0,
            "initial_scale_power": scale.initial_power,
            "loss_scale_window": scale.window,
            "hysteresis": scale.hysteresis,
            "min_loss_scale": scale.minimum,
        }
    if engine.pipeline_stages > 1:
        owned["pipeline"] = {"activation_checkpoint_interval": 0, "use_reentrant": False}
    return owned


def _merged(
    config: dict[str, Any], owned: dict[str, Any], path: Path, at: str = ""
) -> dict[str, Any]:
    merged = dict(config)
    for key, value in owned.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merged(merged[key], value, path, f"{at}{key}.")
        elif key in merged and merged[key] not in (value, "auto"):
            raise UserError(
                f"{path}: {at}{key} = {json.dumps(merged[key])}, but the recipe gives "
                f"{json.dumps(value)}. Remove {at}{key} from {path.name} or make them equal."
            )
        else:
            merged[key] = value
    return merged


def _read(path: Path) -> dict[str, Any]:
    config = read_json(path, pairs=partial(_reject_duplicate_keys, path))
    if not isinstance(config, dict):
        raise UserError(f"{path}: the file is not a DeepSpeed config, which is a JSON object.")
    _check_keys(config, "", path)
    return config


def _reject_duplicate_keys(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return one JSON object. Raises UserError if a key occurs twice in it."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise UserError(f"{path}: {key} occurs twice in one block. Remove one of them.")
        found[key] = value
    return found


def _check_keys(block: dict[str, Any], at: str, path: Path) -> None:
    known = known_keys().get(at)
    if known is None:
        return
    for key, value in block.items():
        dotted = f"{at}.{key}" if at else key
        if key not in known:
            raise UserError(f"{path}: {dotted} is not a DeepSpeed key.{nearest(key, known)}")
        if isinstance(value, dict):
            _check_keys(value, dotted, path)


@cache
def known_keys() -> dict[str, list[str]]:
    """Return the pinned DeepSpeed's keys by dotted block (`""`: the top level)."""
    keys: dict[str, list[str]] = json.loads(_KNOWN_KEYS.read_text(encoding="utf-8"))
    return keys
