"""A short storm: what `benchmarks/storm.py` does for minutes, with a fault of every few kinds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(900)
def test_a_training_struck_by_faults_reports_what_a_calm_one_does(
    project: Path, tmp_path: Path
) -> None:
    script = project / "benchmarks" / "storm.py"
    folder = tmp_path / "storm"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), "--steps", "40", "--faults", "4"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    output = folder / "output"
    said = output.read_text(encoding="utf-8", errors="replace")[-3000:] if output.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + said
    assert "4 faults" in done.stdout
    assert "reports, equal" in done.stdout
