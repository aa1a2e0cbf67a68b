"""What the machines of a training do: processor, memory, disk, network and GPUs of each host.

One rank per host samples its machine and writes the values to a file in `ranks/`. The logging rank
adds the newest values of all hosts to the reports, as `system/HOST/NAME`.
"""

from __future__ import annotations

import json
import logging
import math
import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from ptm.files.reading import MEGABYTE, FileContentError
from ptm.files.records import read_json
from ptm.files.writing import write_file
from ptm.train.rank_file import FOLDER

logger = logging.getLogger(__name__)

SYSTEM = "system"
_PREFIX = "system-"
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_OLDEST_SECONDS = 600.0
"""Values that are older are those of a host that has left."""


class MachineFile(BaseModel):
    """`ranks/system-HOST.json`: the newest values of one host."""

    model_config = ConfigDict(extra="forbid")

    time: float
    values: dict[str, float]


class MachineSampler:
    """Samples this host every `seconds` in a thread, from `__enter__` to `__exit__`."""

    def __init__(self, run: Path, *, seconds: float, is_active: bool) -> None:
        """`is_active`: whether this rank samples its host. 0 seconds: there are no samples."""
        host = _NOT_IN_NAMES.sub("_", socket.gethostname())
        self._path = run / FOLDER / f"{_PREFIX}{host}.json"
        self._seconds = seconds if is_active else 0.0
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> MachineSampler:
        if self._seconds > 0:
            self._thread = threading.Thread(target=self._run, name="machine", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            counters = HostCounters()
            while not self._ended.wait(self._seconds):
                values = {**counters.values(), **gpu_values()}
                text = json.dumps({"time": time.time(), "values": values})
                # A full disk must not stop the training.
                with suppress(OSError):
                    write_file(self._path, text)
        except Exception as error:
            # A driver or container that does not give a value must not stop it either.
            logger.warning("the machine is no longer sampled: %s: %s", type(error).__name__, error)


class HostCounters:
    """Values of the host. Rates are means since the last call."""

    def __init__(self) -> None:
        self._last = self._totals()
        self._at = time.monotonic()
        psutil.cpu_percent(interval=None)

    def values(self) -> dict[str, float]:
        """Percent, bytes, and bytes per second."""
        now, totals = time.monotonic(), self._totals()
        seconds = max(1e-3, now - self._at)
        rates = {
            f"{name}_per_second": (totals[name] - self._last.get(name, totals[name])) / seconds
            for name in totals
        }
        self._last, self._at = totals, now
        memory = psutil.virtual_memory()
        return {
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_percent": memory.percent,
            "memory_used_bytes": float(memory.total - memory.available),
            **{name: round(rate, 1) for name, rate in rates.items()},
        }

    @staticmethod
    def _totals() -> dict[str, float]:
        """Bytes since the host was started. Containers may have no disk counters."""
        disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
        found: dict[str, float] = {}
        if disk is not None:
            found |= {"disk_read_bytes": disk.read_bytes, "disk_written_bytes": disk.write_bytes}
        if network is not None:
            found |= {
                "network_received_bytes": network.bytes_recv,
                "network_sent_bytes": network.bytes_sent,
            }
        return found


def gpu_values() -> dict[str, float]:
    """Values of each NVIDIA GPU of the host, by the driver's number: `gpu0_percent`, ...

    Empty without a driver. A value that a GPU does not give is left out.
    """
    try:
        import pynvml
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    found: dict[str, float] = {}
    try:
        for number in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(number)
            for name, read in GPU_VALUES.items():
                with suppress(pynvml.NVMLError):
                    found[f"gpu{number}_{name}"] = float(read(pynvml, handle))
    finally:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return found


GPU_VALUES: Mapping[str, Any] = {
    "percent": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "memory_used_bytes": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    "temperature_celsius": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(
        gpu, nvml.NVML_TEMPERATURE_GPU
    ),
    "power_watts": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "clock_mhz": lambda nvml, gpu: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
}


def machine_values(run: Path) -> dict[str, float]:
    """The newest values of all hosts whose files are in the run folder, as `system/HOST/NAME`.

    Hosts whose values are older than ten minutes, and damaged files, are left out.
    """
    found: dict[str, float] = {}
    for path in sorted((run / FOLDER).glob(f"{_PREFIX}*.json")):
        try:
            content = read_json(path, MachineFile, limit=MEGABYTE)
        except (OSError, FileContentError):
            continue
        if time.time() - content.time < _OLDEST_SECONDS:
            host = path.stem.removeprefix(_PREFIX)
            found |= {
                f"{SYSTEM}/{host}/{name}": value
                for name, value in content.values.items()
                if math.isfinite(value)
            }
    return found
