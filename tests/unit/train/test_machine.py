"""What the machines do is sampled on each host and added to the reports of the training."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ptm.errors import EXIT_DONE
from ptm.train.machine import HostCounters, MachineSampler, gpu_values, machine_values
from ptm.train.trackers import tracker_values
from tests.support.small_runs import Runs


class NVMLError(Exception):
    pass


def driver(*, gpus: int, lacking: str = "") -> ModuleType:
    """A stub of the driver's library with `gpus` GPUs that do not give the value `lacking`."""

    def give(name: str, value: Any) -> Any:
        def read(*_: object) -> Any:
            if name == lacking:
                raise NVMLError("not supported")
            return value

        return read

    module: Any = ModuleType("pynvml")
    module.NVMLError = NVMLError
    module.NVML_TEMPERATURE_GPU, module.NVML_CLOCK_SM = 0, 1
    module.nvmlInit = give("init", None)
    module.nvmlShutdown = give("shutdown", None)
    module.nvmlDeviceGetCount = give("count", gpus)
    module.nvmlDeviceGetHandleByIndex = lambda number: number
    module.nvmlDeviceGetUtilizationRates = give("utilisation", SimpleNamespace(gpu=97, memory=40))
    module.nvmlDeviceGetMemoryInfo = give("memory", SimpleNamespace(used=5_000_000_000))
    module.nvmlDeviceGetTemperature = give("temperature", 61)
    module.nvmlDeviceGetPowerUsage = give("power", 312_500)
    module.nvmlDeviceGetClockInfo = give("clock", 1755)
    return module


def test_each_gpu_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver(gpus=2))
    found = gpu_values()
    assert len(found) == 10
    assert {k: v for k, v in found.items() if k.startswith("gpu1_")} == {
        "gpu1_percent": 97.0,
        "gpu1_memory_used_bytes": 5e9,
        "gpu1_temperature_celsius": 61.0,
        "gpu1_power_watts": 312.5,
        "gpu1_clock_mhz": 1755.0,
    }


@pytest.mark.parametrize(("lacking", "left"), [("power", 4), ("init", 0)])
def test_what_a_driver_does_not_give_is_left_out(
    lacking: str, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", driver(gpus=1, lacking=lacking))
    assert len(gpu_values()) == left


def test_the_host_has_values_of_its_own() -> None:
    counters = HostCounters()
    sum(number * number for number in range(300_000))
    found = counters.values()
    assert 0 < found["memory_percent"] < 100
    assert 0 < found["cpu_percent"] <= 100
    assert found["network_sent_bytes_per_second"] >= 0


def test_old_and_damaged_values_are_left_out(tmp_path: Path) -> None:
    ranks = tmp_path / "ranks"
    ranks.mkdir()
    now = time.time()
    values = {"cpu_percent": 50.0, "gpu0_percent": float("nan")}
    (ranks / "system-a.json").write_text(json.dumps({"time": now, "values": values}))
    (ranks / "system-b.json").write_text(json.dumps({"time": now - 601, "values": values}))
    (ranks / "system-c.json").write_text("{")
    assert machine_values(tmp_path) == {"system/a/cpu_percent": 50.0}


def test_a_sampler_that_fails_only_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: HostCounters) -> dict[str, float]:
        raise ValueError("no such counter")

    monkeypatch.setattr(HostCounters, "values", fail)
    with MachineSampler(tmp_path, seconds=0.01, is_active=True):
        deadline = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
    assert caplog.messages == ["the machine is no longer sampled: ValueError: no such counter"]


def test_reports_and_trackers_have_the_values_of_the_host(runs: Runs) -> None:
    assert runs.train("sampled", "tracking.system_every=0.01", "train.steps=40") == EXIT_DONE
    lines = (runs.folder / "sampled" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    last = [record for record in records if record["split"] == "train"][-1]
    (name,) = [key for key in last if key.startswith("system/") and key.endswith("/cpu_percent")]
    assert tracker_values(last)[name] == last[name]
    assert not [
        key for record in records if record["split"] == "eval" for key in record if "/" in key
    ]
    assert runs.train("unsampled", "tracking.system_every=0") == EXIT_DONE
    assert "system" not in (runs.folder / "unsampled" / "metrics.jsonl").read_text()
