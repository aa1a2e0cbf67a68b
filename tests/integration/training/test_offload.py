"""Offload: trains and resumes as without it, and reports missing requirements."""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from deepspeed.ops.op_builder import AsyncIOBuilder

from ptm.cli import main
from ptm.engines import async_io
from ptm.engines.base import Engine
from ptm.engines.offload import offload_folders, with_run_folders
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER
from tests.support.covers import by_default
from tests.support.faults import Killed
from tests.support.small_runs import PROJECT, Runs

Metrics = list[dict[str, Any]]
Calm = Callable[..., Metrics]
Moved = Callable[..., Metrics]

OFFLOADED = ("zero2-offload", "zero3-offload")
STAGES = ("zero0", "zero1", "zero2", "zero3")
SHORT = ("train.steps=6", "tracking.log_every=1", "data.held_out=0", "checkpoint.every=100")
# With the default initial loss scale of fp16, all of these few steps would be skipped.
SMALL_SCALE = "engine.loss_scale.initial_power=8"
WALKS = {
    "zero2-offload": "zero0 zero2-offload zero2-offload zero3 zero2-offload zero2 zero2-offload "
    "zero1 zero2-offload zero0",
    "zero3-offload": "zero0 zero3-offload zero3-offload zero2-offload zero3-offload zero3 "
    "zero3-offload zero2 zero3-offload zero1 zero3-offload zero0",
}
"""Sequences of engines: the key follows, and is followed by, each other engine."""
HALF = [("zero2-offload", "zero3-offload"), ("zero3-offload", "zero2-offload")]
HALF += [("zero2-offload", "zero3"), ("zero2", "zero3-offload")]
# These pairs round summed gradients to bf16 in one engine and keep them in fp32 in the other.
ROUNDED = [("zero0", "zero2-offload"), ("zero3-offload", "zero1")]


@pytest.fixture(scope="module")
def stopped(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of a run that was stopped after three of six steps; one per set of overrides."""
    made: dict[tuple[str, ...], Path] = {}

    def folder(*overrides: str) -> Path:
        if overrides not in made:
            runs = Runs(store, tmp_path_factory.mktemp("stopped"))
            assert runs.train("moved", *overrides, stop_at=3) == EXIT_STOPPED
            assert runs.checkpoints("moved") == [3]
            made[overrides] = runs.folder / "moved"
        return made[overrides]

    return folder


@pytest.fixture
def moved(runs: Runs, stopped: Callable[..., Path]) -> Moved:
    """The metrics of a run started with engine `before` and resumed with engine `after`."""

    def metrics(before: str, after: str, *overrides: str) -> Metrics:
        folder = stopped(*overrides, f"engine.deepspeed={before}")
        shutil.copytree(folder, runs.folder / "moved")
        assert runs.train("moved", *overrides, f"engine.deepspeed={after}") == EXIT_DONE
        return runs.metrics("moved")

    return metrics


def assert_close(found: Metrics, expected: Metrics, *, rel: float = 1e-5) -> None:
    for record, other in zip(found, expected, strict=True):
        for metric in ("loss", "grad_norm"):
            assert record[metric] == pytest.approx(other[metric], rel=rel)


@pytest.mark.parametrize("name", WALKS)
def test_a_run_resumes_with_and_without_offload(runs: Runs, calm: Calm, name: str) -> None:
    engines = WALKS[name].split()
    others = {*STAGES, *OFFLOADED} - ({"zero3-offload"} if name == "zero2-offload" else set())
    assert {after for before, after in pairwise(engines) if before == name} == others
    quiet = (*SHORT, "model.dropout=0.0")
    changes = [(f"engine.deepspeed={engine}",) for engine in engines]
    found = runs.change_at_every_step("moved", changes, *quiet)
    assert_close(found, calm(*quiet, f"train.steps={len(engines)}"))


@pytest.mark.parametrize(
    ("before", "after"), [by_default(pair, (HALF[0], ROUNDED[1])) for pair in HALF + ROUNDED]
)
def test_a_run_in_bf16_resumes_with_and_without_offload(
    moved: Moved, calm: Calm, before: str, after: str
) -> None:
    quiet = (*SHORT, "model.dropout=0.0", "engine.precision=bf16")
    expected = calm(*quiet, f"engine.deepspeed={before}")
    rounded = (before, after) in ROUNDED
    assert_close(moved(before, after, *quiet), expected, rel=1e-3 if rounded else 1e-5)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        by_default((name, precision), (("zero2-offload", "fp16"), ("zero3-offload", "bf16")))
        for name in OFFLOADED
        for precision in ("fp32", "bf16", "fp16")
    ],
)
def test_a_stopped_run_with_offload_resumes_with_identical_metrics(
    moved: Moved, calm: Calm, name: str, precision: str
) -> None:
    engine = (*SHORT, "model.dropout=0.1", f"engine.precision={precision}", SMALL_SCALE)
    expected = calm(*engine, f"engine.deepspeed={name}")
    assert expected[-1]["skipped_steps"] == 0
    assert moved(name, name, *engine) == expected


class Nvme:
    """ds_configs/zero3-nvme.json with a temporary folder and small parameter groups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "disk"
        self.folder.mkdir()
        self._configs = folder

    def config(self, name: str = "nvme", *, parameters: bool = False, **options: Any) -> str:
        """The override of `engine.deepspeed`. `parameters`: also offload parameters to NVMe."""
        config = json.loads((PROJECT / "ds_configs/zero3-nvme.json").read_text(encoding="utf-8"))
        zero = config["zero_optimization"]
        zero["sub_group_size"] = 600_000
        zero["offload_optimizer"] |= {"nvme_path": str(self.folder), **options}
        if parameters:
            zero["stage3_prefetch_bucket_size"] = 0
            zero["offload_param"] |= {"device": "nvme", "nvme_path": str(self.folder)}
            zero["offload_param"] |= {"buffer_count": 5, "buffer_size": 2_000_000}
        path = self._configs / f"{name}.json"
        path.write_text(json.dumps(config))
        return f"engine.deepspeed={path}"


@pytest.fixture
def nvme() -> Iterator[Nvme]:
    # `tmp_path` may be in memory, where older kernels than Linux 6.6 have no O_DIRECT.
    with tempfile.TemporaryDirectory(prefix="ptm-nvme-") as folder:
        yield Nvme(Path(folder))


@pytest.fixture
def builds() -> None:
    missing = async_io.missing_for_async_io()
    if missing:
        pytest.skip(f"offload to NVMe needs {missing}")


LARGE = (
    *SHORT,
    # A group below 262,144 elements stays in memory.
    "model.encoder.layers=2",
    "model.encoder.hidden_size=256",
    "model.encoder.feed_forward_size=2048",
)
LARGE_QUIET = (*LARGE, "model.dropout=0.0")


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch, nvme: Nvme) -> list[list[Path]]:
    """The files in the NVMe folder at the end of each run, before they are removed."""
    close, found = Engine.close, []

    def closed(self: Engine) -> None:
        found.append(sorted(path for path in nvme.folder.rglob("*") if path.is_file()))
        close(self)

    monkeypatch.setattr(Engine, "close", closed)
    return found


VARIANTS: dict[str, dict[str, Any]] = {
    "as shipped": {},
    "pipelined": {"pipeline_read": True, "pipeline_write": True, "buffer_count": 12},
    "with parameters": {"parameters": True},
}


@pytest.mark.slow
@pytest.mark.usefixtures("builds")
@pytest.mark.parametrize("variant", VARIANTS)
def test_nvme_offload_has_the_losses_of_zero3_and_leaves_no_files(
    runs: Runs, calm: Calm, nvme: Nvme, on_disk: list[list[Path]], variant: str
) -> None:
    assert runs.train("run", *LARGE_QUIET, nvme.config(**VARIANTS[variant])) == EXIT_DONE
    assert_close(runs.metrics("run"), calm(*LARGE_QUIET, "engine.deepspeed=zero3"))
    files = on_disk[0]
    assert len([path for path in files if "optimizer" in path.parts]) >= 3 * 4, "three states each"
    (own,) = {path.relative_to(nvme.folder).parts[0] for path in files}
    assert own.startswith("run-")
    assert not list(nvme.folder.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("builds")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("other", ["zero1", "zero2-offload"])
def test_a_run_resumes_from_and_to_nvme_offload(
    runs: Runs, calm: Calm, nvme: Nvme, other: str, precision: str
) -> None:
    quiet = (*LARGE_QUIET, f"engine.precision={precision}")
    expected = calm(*quiet, f"engine.deepspeed={other}")
    engines = (f"engine.deepspeed={other}", nvme.config())
    for name, (before, after) in {"to": engines, "from": engines[::-1]}.items():
        assert runs.train(name, *quiet, before, stop_at=3) == EXIT_STOPPED
        assert runs.train(name, *quiet, after) == EXIT_DONE
        if precision == "fp32":
            assert_close(runs.metrics(name), expected)
        # Smaller groups sum in another order, which shows in bf16.
        for record, calm_one in zip(runs.metrics(name), expected, strict=True):
            assert record["loss"] == pytest.approx(calm_one["loss"], rel=2e-3)
        assert not list(nvme.folder.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("builds")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_or_killed_run_on_nvme_resumes_with_identical_metrics(
    runs: Runs, nvme: Nvme, precision: str
) -> None:
    precise = f"engine.precision={precision}"
    engine = (*LARGE, "model.dropout=0.1", precise, nvme.config(), SMALL_SCALE)
    assert runs.train("calm", *engine) == EXIT_DONE
    assert runs.train("rough", *engine, stop_at=3) == EXIT_STOPPED
    with pytest.raises(Killed):
        runs.train("rough", *engine, die_at=5)
    assert list(nvme.folder.iterdir()), "a kill does not clean up"
    assert runs.train("rough", *engine) == EXIT_DONE
    assert runs.metrics("rough") == runs.metrics("calm")
    assert not list(nvme.folder.iterdir())


def test_two_runs_of_one_name_have_separate_nvme_folders(tmp_path: Path) -> None:
    entry = {"device": "nvme", "nvme_path": str(tmp_path)}
    config = {"zero_optimization": {"stage": 3, "offload_optimizer": entry, "offload_param": entry}}
    first = offload_folders(with_run_folders(config, tmp_path / "one" / "run"))
    second = offload_folders(with_run_folders(config, tmp_path / "two" / "run"))
    assert len(first) == len(second) == 1
    assert not first & second
    assert {path.parent for path in first | second} == {tmp_path}
    assert config["zero_optimization"]["offload_param"] == entry


LACKING = {
    "a compiler": (
        lambda patch: patch.setenv("CXX", "/nowhere/c++"),
        "a C++ compiler (the package g++ or gcc-c++)",
    ),
    "ninja": (
        lambda patch: patch.setattr(async_io, "is_ninja_available", lambda: False),
        "-m pip install ninja)",
    ),
    "libaio": (
        lambda patch: patch.setattr(AsyncIOBuilder, "is_compatible", lambda *_, **__: False),
        "the libaio headers (the package libaio-dev or libaio-devel)",
    ),
    "the CUDA toolkit": (
        lambda patch: (
            patch.setattr(torch.cuda, "is_available", lambda: True),
            patch.setattr(torch.version, "cuda", "13.0"),
            patch.setattr(async_io, "CUDA_HOME", None),
        ),
        "the CUDA toolkit 13.0 with nvcc, and CUDA_HOME set to it",
    ),
}


@pytest.fixture
def all_there(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """All requirements of NVMe offload present; the test then removes one."""
    found = shutil.which
    monkeypatch.setenv("CXX", "true")
    which = "ptm.engines.async_io.shutil.which"
    monkeypatch.setattr(which, lambda name: "cc" if name == "cc" else found(name))
    monkeypatch.setattr(async_io, "installed_ops", {})
    monkeypatch.setattr(async_io, "is_ninja_available", lambda: True)
    monkeypatch.setattr(AsyncIOBuilder, "is_compatible", lambda *_, **__: True)
    return monkeypatch


@pytest.mark.parametrize("command", ["validate --inputs", "train"])
@pytest.mark.parametrize("lacking", LACKING)
def test_missing_requirements_of_nvme_offload_are_named_before_anything_starts(
    runs: Runs,
    nvme: Nvme,
    all_there: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    lacking: str,
) -> None:
    take_away, expected = LACKING[lacking]
    take_away(all_there)
    name, *options = command.split()
    engine = nvme.config()
    assert main([name, *runs.arguments("wrong", engine), *options]) == EXIT_USER
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"ptm: {engine.replace('=', ' = ')}: offload to NVMe needs ")
    assert message.endswith(f'{expected}. Install it, or use "cpu".')
    assert not runs.folder.exists()


def _gone(nvme: Nvme, patch: pytest.MonkeyPatch) -> str:
    nvme.folder.rmdir()
    return "No such file or directory"


def _a_file(nvme: Nvme, patch: pytest.MonkeyPatch) -> str:
    nvme.folder.rmdir()
    nvme.folder.write_text("")
    return "Not a directory"


def _read_only(nvme: Nvme, patch: pytest.MonkeyPatch) -> str:
    def fail(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    patch.setattr(tempfile, "TemporaryFile", fail)
    return "Read-only file system"


@pytest.mark.parametrize("make", [_gone, _a_file, _read_only])
def test_an_unwritable_nvme_path_is_reported_with_the_reason(
    runs: Runs,
    nvme: Nvme,
    all_there: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Nvme, pytest.MonkeyPatch], str],
) -> None:
    arguments = runs.arguments("wrong", nvme.config())
    assert main(["validate", *arguments]) == EXIT_DONE
    assert "not checked" not in capsys.readouterr().out
    reason = make(nvme, all_there)
    expected = f'nvme_path "{nvme.folder}" is not writable ({reason}). Set it to a folder on a fast'
    assert main(["validate", *arguments]) == EXIT_DONE
    assert expected in capsys.readouterr().out
    for command, *options in (["validate", "--inputs"], ["train"]):
        assert main([command, *arguments, *options]) == EXIT_USER
        (message,) = capsys.readouterr().err.splitlines()
        assert expected in message
    assert not runs.folder.exists()
