"""The sections and panels of a dashboard, with the names that trackers get from runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ptm.loading.index import TRAIN
from ptm.recipe.data_block import SHARE
from ptm.train.machine import GPU_VALUES, SYSTEM
from ptm.train.trackers.metric_names import tracker_name


@dataclass(frozen=True)
class Panel:
    """A line plot over steps. It has either `metrics` or `pattern`."""

    title: str
    metrics: tuple[str, ...] = ()
    """Names of metrics in trackers."""
    pattern: str | None = None
    """A regular expression that the whole names match, for names that differ from run to run."""
    log_y: bool = False


@dataclass(frozen=True)
class Section:
    """Panels below a headline."""

    title: str
    panels: tuple[Panel, ...]


def sections(evaluation_sets: Sequence[str]) -> tuple[Section, ...]:
    """The sections of a dashboard; `evaluation_sets` are the splits of the evaluations."""
    return (
        Section("Losses", tuple(_losses(evaluation_sets))),
        Section("Evaluation", tuple(_evaluations(evaluation_sets))),
        Section(
            "Speed",
            (
                _of_training("Tokens per second", "tokens_per_second"),
                _of_training("Examples per second", "examples_per_second"),
                _of_training("Seconds per step", "step_seconds"),
                _of_training("Seconds for which saving blocked training", "save_seconds"),
            ),
        ),
        Section(
            "MFU",
            (
                _of_training("Share of the peak rate (MFU, HFU)", "mfu", "hfu"),
                _of_training("TFLOP/s of the model, all ranks", "model_tflops"),
            ),
        ),
        Section(
            "Memory",
            (
                _of_training("Peak memory of a rank, bytes", "memory_bytes"),
                _of_hosts("Memory of the hosts, bytes", "memory_used_bytes"),
                _of_hosts("Memory of the GPUs, bytes", _gpu("memory_used_bytes")),
            ),
        ),
        Section(
            "Data",
            (
                _of_training("Tokens so far", "tokens"),
                _of_training("Epoch", "epoch"),
                _of_training("Seconds of waiting for data", "data_wait_seconds"),
                Panel("Shares of the sources", pattern=f"{SHARE}/.+"),
            ),
        ),
        Section("System", tuple(_machines())),
    )


def _losses(evaluation_sets: Sequence[str]) -> Iterator[Panel]:
    both = tuple(tracker_name("loss", split) for split in (TRAIN, *evaluation_sets))
    yield Panel("Loss of training and evaluation", both)
    yield Panel("Loss, logarithmic", both, log_y=True)
    yield Panel("Terms of the loss", pattern=f"{TRAIN}/.+_loss")
    yield _of_training("Learning rate", "learning_rate")
    yield _of_training("Gradient norm before clipping", "grad_norm")
    yield _of_training("Loss scale and skipped steps", "loss_scale", "skipped_steps")


def _evaluations(evaluation_sets: Sequence[str]) -> Iterator[Panel]:
    for split in evaluation_sets:
        name = re.escape(split)
        yield Panel(f"{split}: loss", (tracker_name("loss", split),))
        yield Panel(
            f"{split}: accuracy, F1, correlation",
            pattern=f"{name}/.*(accuracy|f1|exact_match|pearson|spearman|mrr|ndcg|recall).*",
        )
        yield Panel(f"{split}: all values", pattern=f"{name}/.+")


def _machines() -> Iterator[Panel]:
    yield _of_hosts("Processors, percent", "cpu_percent")
    # The section on memory has the memory of the hosts and GPUs.
    yield _of_hosts("Disk, bytes per second", "disk_(read|written)_bytes_per_second")
    yield _of_hosts("Network, bytes per second", "network_(received|sent)_bytes_per_second")
    for value in GPU_VALUES:
        if not value.startswith("memory_"):
            yield _of_hosts(f"GPUs: {value.replace('_', ' ')}", _gpu(value))


def _gpu(value: str) -> str:
    assert value in GPU_VALUES, f"GPUs have no value {value}"
    return rf"gpu\d+_{value}"


def _of_training(title: str, *keys: str) -> Panel:
    return Panel(title, tuple(tracker_name(key, TRAIN) for key in keys))


def _of_hosts(title: str, pattern: str) -> Panel:
    return Panel(title, pattern=f"{SYSTEM}/[^/]+/{pattern}")
