"""Check that a release works: `make release-check` runs this and then the slow tests.

    python tests/release_check.py [--out FOLDER]

It builds the source archive and the wheel of HEAD, installs the wheel with the pinned versions into
a new environment, and runs the quickstart and the README's transformers snippet in a folder
outside the checkout. The archives are left in `--out` (default: dist/ of the checkout). The exit
code is 1 at the first step that fails.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
RECIPE = "recipes/quickstart/roberta-tiny.yaml"
RUN = "runs/quickstart"
SNIPPET = """
import ptm, sys
from transformers import AutoModelForMaskedLM, AutoTokenizer
assert ptm.__file__.startswith(sys.prefix), f"ptm is imported from {ptm.__file__}"
tokenizer = AutoTokenizer.from_pretrained("exported")
model, loading = AutoModelForMaskedLM.from_pretrained("exported", output_loading_info=True)
assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
text = tokenizer("The capital of France is [MASK].", return_tensors="pt")
place = (text["input_ids"][0] == tokenizer.mask_token_id).nonzero().item()
best = model(**text).logits[0, place].topk(5).indices.tolist()
print("transformers:", tokenizer.convert_ids_to_tokens(best))
"""


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command without the variables that point to the checkout; end the check if it fails."""
    words = [str(word) for word in command]
    print("+", " ".join(words if words[1] != "-c" else [*words[:2], "…"]), flush=True)
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    environment["WANDB_MODE"] = "offline"
    if code := subprocess.run(words, cwd=cwd, env=environment).returncode:
        sys.exit(f"release check: exit code {code} of {words[0]}")


def head_in(folder: Path) -> Path:
    """The files of HEAD, without those that are not committed."""
    archive = folder / "head.tar"
    run("git", "archive", "--output", archive, "HEAD", cwd=PROJECT)
    source = folder / "source"
    with tarfile.open(archive) as files:
        files.extractall(source, filter="data")
    return source


def version_of(source: Path) -> str:
    """The version; ends the check if CHANGELOG.md has no section for it."""
    text = (source / "ptm/version.py").read_text(encoding="utf-8")
    found = re.search(r'__version__ = "(.+)"', text)
    assert found is not None, "ptm/version.py has no __version__"
    changes = (source / "CHANGELOG.md").read_text(encoding="utf-8")
    if f"## [{found[1]}]" not in changes:
        print(f"note: CHANGELOG.md has no section [{found[1]}] yet; see docs/releasing.md")
    return found[1]


def build(source: Path, out: Path) -> Path:
    """Build the source archive, and the wheel from it; return the wheel."""
    version = version_of(source)
    run(sys.executable, "-m", "build", "--outdir", out, source, cwd=source)
    return out / f"ptm-{version}-py3-none-any.whl"


def new_environment(folder: Path, wheel: Path, constraints: Path) -> Path:
    """Install the wheel as a user does; return the environment's folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    pip = (programs / "python", "-m", "pip", "install", "--quiet", "-c", constraints)
    # torch comes first and alone, as in the Makefile.
    run(*pip, "torch", cwd=folder)
    run(*pip, f"{wheel}[transformers]", cwd=folder)
    return programs


def quickstart(programs: Path, folder: Path) -> None:
    """The commands of `make quickstart`, and the README's snippet, in an empty folder."""
    folder.mkdir()
    ptm = programs / "ptm"
    run(ptm, "--version", cwd=folder)
    run(ptm, "recipes", "--copy", "quickstart", cwd=folder)
    run(ptm, "validate", RECIPE, cwd=folder)
    run(ptm, "preprocess", RECIPE, cwd=folder)
    run(ptm, "train", RECIPE, cwd=folder)
    run(ptm, "evaluate", RUN, cwd=folder)
    run(ptm, "report", RUN, cwd=folder)
    run(ptm, "export", RUN, "exported", "--to", "hf", cwd=folder)
    run(programs / "python", "recipes/quickstart/try_probes.py", "exported", cwd=folder)
    run(programs / "python", "-c", SNIPPET, cwd=folder)


def main() -> None:
    """Build, install, run; print the time of each part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=PROJECT / "dist", metavar="FOLDER")
    out = parser.parse_args().out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ptm-release-") as name:
        folder = Path(name)
        source = head_in(folder)
        wheel = build(source, out)
        built = time.monotonic()
        programs = new_environment(folder / "venv", wheel, source / "constraints.txt")
        installed = time.monotonic()
        quickstart(programs, folder / "outside")
    print(
        f"release check passed: build {built - started:.0f} s, install {installed - built:.0f} s, "
        f"quickstart {time.monotonic() - installed:.0f} s; archives in {out}"
    )


if __name__ == "__main__":
    main()
