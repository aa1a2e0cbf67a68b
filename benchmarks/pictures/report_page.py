"""Make the pictures of the report page in docs/pictures: report.png and report_phone.png.

python benchmarks/pictures/report_page.py FOLDER

Runs the training of the quickstart in FOLDER (a few minutes on two CPU cores; a run that is there
already is continued), writes its page, and takes screenshots with Chromium. pngquant
reduces the colours. Debian has both: apt-get install chromium pngquant.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PICTURES = PROJECT / "docs" / "pictures"
RECIPE = "recipes/quickstart/roberta-tiny.yaml"
RUN = "runs/quickstart"
SIZES = {"report": (1280, 1180, 1), "report_phone": (500, 1000, 1)}
"""Name -> width and height in CSS pixels, and pixels per CSS pixel."""
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--virtual-time-budget=5000"),
)


def ptm(folder: Path, *words: str) -> None:
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    subprocess.run([sys.executable, "-m", "ptm", *words], cwd=folder, env=environment, check=True)


def train(folder: Path) -> Path:
    """Train the run, or continue it; return its page."""
    files = folder / "recipes" / "quickstart"
    shutil.copytree(PROJECT / "recipes" / "quickstart", files, dirs_exist_ok=True)
    ptm(folder, "preprocess", RECIPE)
    ptm(folder, "train", RECIPE)
    ptm(folder, "report", RUN)
    return folder / RUN / "report.html"


def take_picture(page: Path, name: str) -> Path:
    """A screenshot of the top of the page with at most 256 colours."""
    width, height, scale = SIZES[name]
    target = PICTURES / f"{name}.png"
    command = [
        *("chromium", *FLAGS, f"--user-data-dir={page.parent / 'chromium'}"),
        *(f"--window-size={width},{height}", f"--force-device-scale-factor={scale}"),
        *(f"--screenshot={target}", page.as_uri()),
    ]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    shutil.rmtree(page.parent / "chromium", ignore_errors=True)
    subprocess.run(["pngquant", "--force", "--output", target, "128", target], check=True)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder.resolve()
    PICTURES.mkdir(parents=True, exist_ok=True)
    page = train(folder)
    for name in SIZES:
        path = take_picture(page, name)
        print(f"{path.relative_to(PROJECT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
