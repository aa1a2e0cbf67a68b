"""Check the offload settings of a DeepSpeed JSON; give each run its own folder on NVMe."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ptm.checkpoint.verification import digest_of
from ptm.errors import UserError

_KEYS = ("offload_optimizer", "offload_param")
_DEVICES = ("none", "cpu", "nvme")
# Tensors of a parameter that an AdamW step needs in memory: fp32 weight, two moments, gradient.
_TENSORS = 4


def check_offload(config: dict[str, Any], path: Path) -> None:
    """Raise UserError for offload settings that DeepSpeed ignores or fails on without a reason."""
    block = config.get("zero_optimization", {})
    stage = int(block.get("stage", 0))
    for old, new in (("cpu_offload", "offload_optimizer"), ("cpu_offload_param", "offload_param")):
        if block.get(old):
            raise UserError(
                f"{path}: zero_optimization.{old} is a key of earlier DeepSpeed versions. Write "
                f'"{new}": {{"device": "cpu", "pin_memory": true}} instead.'
            )
    optimizer = _device(block, "offload_optimizer", path)
    parameters = _device(block, "offload_param", path)
    if stage == 0 and (optimizer != "none" or parameters != "none"):
        raise UserError(
            f"{path}: offload needs ZeRO, and DeepSpeed ignores it at zero_optimization.stage = "
            "0. Set stage 1, 2 or 3, or remove the offload block."
        )
    if stage < 3 and parameters != "none":
        raise UserError(
            f"{path}: zero_optimization.offload_param needs stage 3, and DeepSpeed ignores it at "
            f"stage {stage}. Set stage 3 or remove offload_param."
        )
    if stage < 3 and optimizer == "nvme":
        raise UserError(
            f'{path}: zero_optimization.offload_optimizer.device = "nvme" needs stage 3, and '
            f'DeepSpeed ignores it at stage {stage}. Set stage 3 or device "cpu".'
        )
    if block.get("round_robin_gradients"):
        raise UserError(
            f"{path}: zero_optimization.round_robin_gradients = true is not supported: it "
            "reorders parameters, so checkpoints would be wrong. Remove the key."
        )
    if optimizer != "none":
        _check_options(block["offload_optimizer"], path)
    for key, device in zip(_KEYS, (optimizer, parameters), strict=True):
        folder = block[key].get("nvme_path") if device == "nvme" else "."
        if not folder or not isinstance(folder, str):
            raise UserError(
                f"{path}: zero_optimization.{key}.nvme_path is missing or not a path. Set it to a "
                "folder on a fast local disk."
            )
    if parameters == "nvme" and block.get("stage3_prefetch_bucket_size", 1) != 0:
        raise UserError(
            f'{path}: zero_optimization.offload_param.device = "nvme" works only with '
            "stage3_prefetch_bucket_size = 0: otherwise DeepSpeed reads a parameter twice at the "
            "same time and fails in the second step. Set stage3_prefetch_bucket_size: 0 or "
            'device "cpu".'
        )


def missing_for_offload(config: dict[str, Any]) -> str | None:
    """Return as a sentence what this machine lacks for the NVMe offload in `config`, or None."""
    folders = offload_folders(config)
    for folder in folders:
        reason = _not_writable(folder.parent)
        if reason:
            return (
                f'nvme_path "{folder.parent}" is not writable ({reason}). Set it to a folder on a '
                "fast local disk."
            )
    if folders:
        # Imported late: DeepSpeed takes seconds to import, and only NVMe offload needs it.
        from ptm.engines.async_io import missing_for_async_io

        missing = missing_for_async_io()
        if missing:
            return f'offload to NVMe needs {missing}. Install it, or use "cpu".'
    return None


def with_run_folders(config: dict[str, Any], run: Path) -> dict[str, Any]:
    """Return `config` with each nvme_path replaced by a subfolder of it that only `run` uses.

    Runs that share a folder would overwrite each other's weights.
    """
    block = dict(config.get("zero_optimization", {}))
    place = f"{run.name}-{digest_of(os.path.realpath(run).encode())[:8]}"
    for key, entry in _on_nvme(config).items():
        block[key] = {**entry, "nvme_path": str(Path(entry["nvme_path"]) / place)}
    return {**config, "zero_optimization": block} if block else config


def offload_folders(config: dict[str, Any]) -> set[Path]:
    """Return the folders on NVMe that DeepSpeed writes to during training with `config`."""
    return {Path(entry["nvme_path"]) for entry in _on_nvme(config).values()}


def _on_nvme(config: dict[str, Any]) -> dict[str, Any]:
    block = config.get("zero_optimization", {})
    entries = {key: block.get(key) or {} for key in _KEYS}
    return {key: entry for key, entry in entries.items() if entry.get("device") == "nvme"}


def _device(block: dict[str, Any], key: str, path: Path) -> str:
    entry = block.get(key)
    if entry is None:
        return "none"
    device = entry.get("device", "none") if isinstance(entry, dict) else entry
    if device not in _DEVICES or not isinstance(entry, dict):
        raise UserError(
            f"{path}: zero_optimization.{key} = {json.dumps(entry)} does not name an offload "
            'device. Write a block such as {"device": "cpu"}, with "none", "cpu" or "nvme".'
        )
    return str(device)


def _check_options(block: dict[str, Any], path: Path) -> None:
    at = f"{path}: zero_optimization.offload_optimizer"
    if block.get("ratio", 1.0) != 1.0 or block.get("super_offload"):
        raise UserError(
            f"{at}: ratio below 1 and super_offload need one of DeepSpeed's own optimizers, which "
            "ptm does not use. Remove them."
        )
    wanted = _TENSORS * (1 + bool(block.get("pipeline_read")) + bool(block.get("pipeline_write")))
    count = block.get("buffer_count", 4)
    if not isinstance(count, int) or isinstance(count, bool):
        raise UserError(
            f"{at}.buffer_count = {json.dumps(count)} is not a whole number. Set {wanted} or more."
        )
    if block.get("device") == "nvme" and count < wanted:
        raise UserError(f"{at}.buffer_count = {count} is too small. Set {wanted} or more.")


def _not_writable(folder: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror
