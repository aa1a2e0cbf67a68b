"""The page in headless Chromium, where it is installed: it draws, and no script fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ptm.runs.report import report_page
from tests.support.run_folders import write_run
from tests.support.small_runs import store

__all__ = ["store"]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--virtual-time-budget=5000", "--window-size=1280,900"),
)
MOST_BYTES = 1_500_000
BEFORE = """<script>
var problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("securitypolicyviolation", (event) => problems.push(event.violatedDirective));
</script>"""
# Each canvas: the number of different colours that the chart has.
AFTER = """<script>
addEventListener("load", () => {
  const colours = [...document.querySelectorAll("canvas")].map((canvas) => {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(pixels.buffer)).size;
  });
  const result = {
    problems, colours, width: document.documentElement.scrollWidth,
    headings: [...document.querySelectorAll("h2")].map((heading) => heading.textContent),
    keys: [...document.querySelectorAll(".keys b")].map((key) => key.textContent.trim()),
  };
  const found = document.createElement("pre");
  found.id = "found";
  found.textContent = JSON.stringify(result);
  document.body.append(found);
});
</script>"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


def records(steps: int) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "split": split,
            "rows": 16 * step,
            "tokens": 2000 * step,
            "loss": 8 / step,
            **({"learning_rate": 1e-3 / step, "memory_bytes": 4e8 + step} if split == "train" else {}),
        }
        for step in range(1, steps + 1)
        for split in ("train", "eval")
    ]


def write_example(folder: Path, store: Path) -> Path:
    log = "x: 568,369 parameters, objective mlm\nresuming from step 20 (x)\n"
    run = write_run(folder, f"data.store={store}", records=records(40), log=log)
    event = {"step": 30, "action": "skip", "what": "loss", "value": 12.5}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    return run


def look(page: str, folder: Path) -> Any:
    """What the browser has made of a page."""
    file = folder / "page.html"
    text = page.replace("</title>", f"</title>{BEFORE}", 1).replace("</body>", f"{AFTER}</body>", 1)
    file.write_text(text, encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    done = subprocess.run(
        [*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found is not None, done.stderr[-2000:]
    return json.loads(found[1])


def test_a_run_is_drawn_without_a_script_error(store: Path, tmp_path: Path) -> None:
    page = report_page([write_example(tmp_path / "one", store)])
    assert len(page.encode()) < MOST_BYTES
    found = look(page, tmp_path)
    assert found["problems"] == []
    # Loss, learning rate, memory: background, text, grid, marks and lines have many colours.
    assert len(found["colours"]) == 3
    assert min(found["colours"]) > 20
    for heading in ("Loss", "Optimisation", "Speed and memory", "Events", "Data", "Recipe"):
        assert heading in found["headings"]
    assert found["keys"][:2] == ["0.2", "0.2"], "the last values stand beside the names"
    assert found["width"] <= 1280


def test_several_runs_are_drawn_without_a_script_error(store: Path, tmp_path: Path) -> None:
    runs = [write_example(tmp_path / name, store) for name in ("one", "two", "three")]
    (runs[2] / "metrics.jsonl").write_text(
        "".join(json.dumps(record) + "\n" for record in records(15)), encoding="utf-8"
    )
    found = look(report_page(runs), tmp_path)
    assert found["problems"] == []
    assert min(found["colours"]) > 20
    assert "Differences of the recipes" in found["headings"]


def test_a_run_with_one_report_has_no_charts_and_no_script_error(
    store: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "one", f"data.store={store}", records=records(1)[:1])
    found = look(report_page([run]), tmp_path)
    assert found["problems"] == []
    assert found["colours"] == []
