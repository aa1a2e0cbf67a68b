"""The `engine` block of a UER-py or TencentPretrain training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptm.errors import UserError
from ptm.interop.folders import read_config
from ptm.translate.draft import Draft
from ptm.translate.uer_settings import UerSettings

WHOLE_MATRICES = ("adafactor", "lamb")
"""Optimizers that do not run on the flat partitions of ZeRO 1 to 3."""
_PUBLISHED: Mapping[str, tuple[int, bool]] = {
    "deepspeed_config.json": (2, True),
    "deepspeed_zero3_config.json": (3, True),
    "deepspeed_mp_config.json": (1, False),
}
"""ZeRO stage and offload of TencentPretrain's files; all of them train in fp16."""


def set_engine(draft: Draft, settings: UerSettings) -> None:
    """Set `engine`.

    Raises UserError for a DeepSpeed config that is absent and not published, or not JSON.
    """
    if settings.get("deepspeed"):
        _set_from_config(draft, settings)
    if settings.get("optimizer") in WHOLE_MATRICES:
        set_whole_matrices(draft, settings.get("optimizer"))
    stages = settings.get("pipeline_model_parallel_size")
    if stages > 1:
        origin = settings.origin("pipeline_model_parallel_size")
        draft.set("engine.deepspeed", "pipeline", origin)
        draft.set("engine.pipeline_stages", stages, origin)
    if settings.get("fp16"):
        level = settings.get("fp16_opt_level")
        draft.set("engine.precision", "fp32" if level == "O0" else "fp16", f"--fp16, {level}")
    if settings.get("deepspeed_checkpoint_activations"):
        draft.set("engine.activation_checkpointing", True, "--deepspeed_checkpoint_activations")
    if settings.given("backend"):
        draft.set("engine.backend", settings.get("backend"), "--backend")


def set_whole_matrices(draft: Draft, optimizer: str) -> None:
    """Choose the engine that leaves parameters whole, for an optimizer that needs them so."""
    other = draft.data.get("engine", {}).get("deepspeed")
    if other is not None:
        draft.note(f"ZeRO of {other}", f"{optimizer} needs whole matrices and runs at ZeRO 0")
    draft.set("engine.deepspeed", "zero0", f"{optimizer} needs whole matrices")


def _set_from_config(draft: Draft, settings: UerSettings) -> None:
    path = settings.get("deepspeed_config")
    config = _config(path)
    stage, offloads, precision = zero_of(config)
    if settings.get("enable_zero3"):
        stage = 3
    draft.set("engine.deepspeed", config_name(stage, offloads=offloads), path)
    draft.set("engine.precision", precision, path)


def _config(path: str) -> Mapping[str, Any]:
    if Path(path).exists():
        return read_config(Path(path))
    published = _PUBLISHED.get(path.removeprefix("models/")) if path.startswith("models/") else None
    if published is None:
        raise UserError(
            f"{path}: does not exist, and is not one of the DeepSpeed configs that TencentPretrain "
            "publishes in models/."
        )
    stage, offloads = published
    offload = {"offload_optimizer": {"device": "cpu"}} if offloads else {}
    return {"zero_optimization": {"stage": stage, **offload}, "fp16": {"enabled": True}}


def zero_of(config: Mapping[str, Any]) -> tuple[int, bool, str]:
    """ZeRO stage, whether the optimizer is offloaded, and the precision of a DeepSpeed config."""

    def block(name: str, inside: Mapping[str, Any] = config) -> Mapping[str, Any]:
        found = inside.get(name)
        return found if isinstance(found, Mapping) else {}

    zero = block("zero_optimization")
    stage = zero.get("stage", 0)
    device = block("offload_optimizer", zero).get("device", "none")
    offloads = device not in ("none", None) or bool(zero.get("cpu_offload"))
    precision = next((one for one in ("bf16", "fp16") if block(one).get("enabled") is True), "fp32")
    return stage if stage in (0, 1, 2, 3) else 0, offloads, precision


def config_name(stage: int, *, offloads: bool) -> str:
    """The name of the file in ds_configs/ with a ZeRO stage; offload exists at stages 2 and 3."""
    return f"zero{stage}-offload" if offloads and stage >= 2 else f"zero{stage}"
