"""Trainings of sentence embeddings: cached gradients, exports, predictions, wrong corpora."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from ptm.cli import main
from ptm.components.objectives.embedding import Embedding
from ptm.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USER
from ptm.inference.embed import F32, Embedder
from ptm.interop.sources.open import open_source
from ptm.nn.example_pooling import TextEmbedding
from ptm.runs.evaluate import evaluate_source
from tests.support.classifiers import run_command
from tests.support.small_runs import Runs
from tests.support.text_groups import LOSSES, embedding, lines, write_corpora
from tests.support.written_runs import write_run

SHORT = (
    *("train.steps=4", "tracking.log_every=1", "tracking.evaluate_every=2"),
    *("train.global_batch_size=8", "train.micro_batch_size=2", "data.packing=false"),
)
TEXTS = ["看书", "一只猫在外面，天气很好。", "The cat sits outside.", "很长的文字" * 20]
needs_sentence_transformers = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("texts")
    for kind in LOSSES:
        write_corpora(made, kind)
    return made


@pytest.fixture(scope="module")
def scored(folder: Path) -> Path:
    """A run for scored pairs with random weights."""
    options = embedding(folder, "scored", ", pooling: max, normalize: true, max_length: 32")
    return write_run(folder, folder / "runs", "scored", *options, std=0.3)


@pytest.mark.parametrize("engine", [(), ("engine.activation_checkpointing=true",)])
def test_the_second_run_of_a_micro_batch_has_the_dropout_of_the_first(
    runs: Runs, folder: Path, monkeypatch: pytest.MonkeyPatch, engine: tuple[str, ...]
) -> None:
    seen: list[Tensor] = []
    embed = TextEmbedding.forward

    def recorded(module: TextEmbedding, *inputs: Tensor) -> Tensor:
        found = embed(module, *inputs)
        if module.training:
            seen.append(found.detach().clone())
        return found

    monkeypatch.setattr(TextEmbedding, "forward", recorded)
    options = (*embedding(folder, "texts"), *SHORT, "model.dropout=0.2", "train.steps=1")
    assert runs.train("simcse", *options, *engine) == EXIT_DONE
    first, second = torch.stack(seen[:4]), torch.stack(seen[4:])
    assert torch.equal(first, second)
    # The two copies of a text, and the texts of the micro-batches, have masks of their own.
    assert (first[:, 0] - first[:, 1]).abs().amax(dim=1).min() > 1e-4


def test_a_stopped_training_resumes_with_identical_metrics(runs: Runs, folder: Path) -> None:
    options = (*embedding(folder, "texts"), *SHORT, "model.dropout=0.1")
    assert runs.train("calm", *options) == EXIT_DONE
    assert runs.train("stopped", *options, stop_at=2) == EXIT_STOPPED
    assert runs.train("stopped", *options) == EXIT_DONE
    assert runs.metrics("stopped") == runs.metrics("calm")
    assert runs.metrics("calm")[0]["accuracy"] > 0


def test_a_spike_of_the_loss_of_a_whole_step_is_skipped(
    runs: Runs, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums, calls = Embedding.batch_sums, iter(range(100))

    def disturbed(*inputs: Any) -> dict[str, Tensor]:
        factor = 100.0 if next(calls) == 8 else 1.0
        return {name: factor * value for name, value in sums(*inputs).items()}

    monkeypatch.setattr(Embedding, "batch_sums", disturbed)
    limits = ("train.anomalies={policy: skip, sigmas: 6, window: 6}", "model.dropout=0.0")
    options = (*embedding(folder, "pairs"), *SHORT, *limits, "train.steps=10")
    assert runs.train("spike", *options) == EXIT_DONE
    skipped = [one["skipped_steps"] for one in runs.metrics("spike") if one["split"] == "train"]
    assert skipped == [0] * 8 + [1] * 2


def test_the_second_run_counts_as_recomputed(runs: Runs, folder: Path) -> None:
    options = (*embedding(folder, "pairs"), *SHORT, "engine.peak_tflops=0.5", "train.steps=2")
    for name, size in (("twice", 2), ("once", 8)):
        assert runs.train(name, *options, f"train.micro_batch_size={size}") == EXIT_DONE
        text = (runs.folder / name / "metrics.jsonl").read_text(encoding="utf-8")
        record = json.loads(text.splitlines()[0])
        # A forward pass more is a third more.
        ratio = 4 / 3 if name == "twice" else 1
        assert record["hfu"] == pytest.approx(ratio * record["mfu"], abs=2e-4)


def test_evaluate_finds_what_training_reported(runs: Runs, folder: Path) -> None:
    options = (*embedding(folder, "pairs", ", matryoshka: [8]"), *SHORT)
    assert runs.train("pairs", *options, "checkpoint.best=dev/recall@10_8") == EXIT_DONE
    last = runs.metrics("pairs")[-1]
    source = open_source(str(runs.folder / "pairs"))
    found = evaluate_source(source, ["train.micro_batch_size=5", "train.global_batch_size=5"])
    names = ("loss", "accuracy", "mrr", "ndcg@10", "recall@1", "recall@10", "mrr_8")
    for name in names:
        assert found[f"dev/{name}"] == pytest.approx(last[name], rel=1e-5)


# Exports and predictions


def vectors_of(folder: Path) -> F32:
    return Embedder(open_source(str(folder))).sentences(TEXTS, places=TEXTS)


def test_an_export_is_a_folder_of_sentence_transformers(scored: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "export", tmp_path / "imported"
    assert main(["export", str(scored), str(out), "--to", "hf"]) == EXIT_DONE
    modules = json.loads((out / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].rpartition(".")[2] for module in modules] == [
        *("Transformer", "Pooling", "Normalize")
    ]
    length = json.loads((out / "sentence_bert_config.json").read_text(encoding="utf-8"))
    assert length["max_seq_length"] == 32
    ours = vectors_of(scored)
    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModel.from_pretrained(out).eval()
    batch = tokenizer(TEXTS, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    real = batch["attention_mask"][..., None] == 1
    theirs = F.normalize(hidden.masked_fill(~real, -torch.inf).amax(dim=1), dim=-1)
    assert abs(ours - theirs.numpy()).max() < 1e-5
    # Without the recipe, the files of sentence-transformers say the same.
    assert np.array_equal(vectors_of(out), ours)
    (out / "recipe.yaml").unlink()
    assert main(["import", str(out), str(back), "--from", "hf"]) == EXIT_DONE
    assert abs(vectors_of(back) - ours).max() < 1e-6
    moved = tmp_path / "older"
    shutil.copytree(out, moved / "0_Transformer")
    for name in ("1_Pooling", "2_Normalize"):
        shutil.move(moved / "0_Transformer" / name, moved / name)
    modules[0]["path"] = "0_Transformer"
    (moved / "0_Transformer" / "modules.json").unlink()
    (moved / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    assert abs(vectors_of(moved) - ours).max() < 1e-6


@needs_sentence_transformers
@pytest.mark.parametrize("pooling", ["first", "mean", "max", "last"])
def test_sentence_transformers_has_the_same_vectors(
    folder: Path, tmp_path: Path, pooling: str
) -> None:
    from sentence_transformers import SentenceTransformer

    norm = pooling in ("mean", "last")
    options = f", pooling: {pooling}, normalize: {str(norm).lower()}"
    run = write_run(folder, tmp_path / "runs", "r", *embedding(folder, "pairs", options), std=0.3)
    assert main(["export", str(run), str(tmp_path / "out"), "--to", "hf"]) == EXIT_DONE
    model = SentenceTransformer(str(tmp_path / "out"), device="cpu")
    assert abs(model.encode(TEXTS) - vectors_of(run)).max() < 1e-5
    # What it saves is imported again.
    model.save(str(tmp_path / "saved"))
    assert abs(vectors_of(tmp_path / "saved") - vectors_of(run)).max() < 1e-5


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (
            "modules.json",
            [{"path": "", "type": "x.Transformer"}, {"path": "2_Dense", "type": "x.Dense"}],
            "the modules are Transformer, Dense, but supported are Transformer, Pooling and",
        ),
        ("modules.json", [{"path": ""}], "modules.json: the file is damaged ('type')"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            "the pooling cls and mean is not supported. Supported is one of cls, mean, max, last",
        ),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "query: "}, "default_prompt_name": "query"},
            'the default prompt "query" is added to every text, which is not supported',
        ),
    ],
)
def test_modules_that_change_the_vectors_are_errors(
    scored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    change: object,
    message: str,
) -> None:
    out = tmp_path / "export"
    assert main(["export", str(scored), str(out), "--to", "hf"]) == EXIT_DONE
    (out / file).write_text(json.dumps(change), encoding="utf-8")
    words = ["import", str(out), str(tmp_path / "imported"), "--from", "hf"]
    code, _, errors = run_command(words, capsys)
    assert code == EXIT_USER
    assert message in errors
    assert not (tmp_path / "imported").exists()


def test_embed_uses_the_pooling_and_the_norm_of_the_model(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for name, options in {
        "own": [],
        "max": ["--pooling", "max"],
        "mean": ["--pooling", "mean"],
        "short": ["--dimensions", "8"],
    }.items():
        out = tmp_path / f"{name}.npy"
        code, _, errors = run_command(
            ["embed", str(scored), *TEXTS, "--out", str(out), *options], capsys
        )
        assert code == EXIT_DONE
        assert "1 text was longer than 32 tokens and cut" in errors
        found[name] = np.load(out)
    assert np.array_equal(found["own"], found["max"])
    assert not np.allclose(found["own"], found["mean"])
    assert found["short"].shape == (len(TEXTS), 8)
    for vectors in found.values():
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    code, _, errors = run_command(["embed", str(scored), "a", "--dimensions", "99"], capsys)
    assert (code, "the vectors of the model have 32 numbers" in errors) == (EXIT_USER, True)


def test_predict_gives_the_similarity_of_pairs(
    folder: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "scored" / "dev.tsv"
    code, found, errors = run_command(["predict", str(scored), str(file)], capsys)
    assert code == EXIT_DONE
    header, *answers = [line.split("\t") for line in found]
    assert header == ["similarity", "label"]
    metrics = evaluate_source(open_source(str(scored)), [])
    assert f"Pearson correlation {metrics['dev/pearson']:.5f}, Spearman " in errors
    assert f"{metrics['dev/spearman']:.5f} on 37 labels" in errors
    texts = [line.split("\t")[1:] for line in file.read_text(encoding="utf-8").splitlines()]
    flat = [text for pair in texts for text in pair]
    vectors = Embedder(open_source(str(scored))).sentences(flat, places=flat)
    cosines = (vectors[0::2] * vectors[1::2]).sum(axis=1)
    assert [float(answer[0]) for answer in answers] == pytest.approx(cosines.tolist(), abs=1e-5)
    # Blank lines keep their place, in JSON lines too.
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("看书\t看书\n\n一\t二\n", encoding="utf-8")
    words = ["predict", str(scored), str(pairs), "--format", "json_lines"]
    code, found, errors = run_command(words, capsys)
    assert code == EXIT_DONE
    similarities = [json.loads(line)["similarity"] for line in found]
    assert similarities[0] == pytest.approx(1, abs=1e-5)
    assert similarities[1] is None
    assert "1 input lacks a text" in errors
    (tmp_path / "triplets.tsv").write_text("看书\t一\t二\n", encoding="utf-8")
    _, _, errors = run_command(["predict", str(scored), str(tmp_path / "triplets.tsv")], capsys)
    assert 'triplets.tsv:1: "看书". Without a header, the first of three columns is' in errors
    (tmp_path / "single.txt").write_text("看书\n", encoding="utf-8")
    code, _, errors = run_command(["predict", str(scored), str(tmp_path / "single.txt")], capsys)
    assert code == EXIT_USER
    assert "single.txt:1: the input is a single text, but similarities are those of pairs" in errors


# Corpora that do not fit


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("scored", "4.5\ta\tb\nfour\tc\td\n", 'train.tsv:2: "four" is not a finite number'),
        ("scored", "4.5\ta\tb\n5.5\tc\td\n", 'train.tsv:2: "5.5" is outside of objective.score_ra'),
        ("scored", "4.5\ta\tb\n2.5\tc\n", "train.tsv:2: "),
        ("triplets", "a\tb\tc\td\ne\tf\t\tg\n", "train.tsv:2: the negative is empty"),
        ("pairs", "a\t\n\tb\n", "none of the 2 pairs has text on both sides"),
        ("pairs", "query\tanswer\na\tb\n", "is a header, but would be read as a pair"),
        ("triplets", "query\tanswer\ttext\na\tb\tc\n", "Set data.fields: {anchor: query, positive"),
    ],
)
def test_wrong_corpora_are_errors_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, text: str, message: str
) -> None:
    (tmp_path / kind).mkdir()
    (tmp_path / kind / "train.tsv").write_text(text, encoding="utf-8")
    recipe, *overrides = Runs(tmp_path, tmp_path / "runs").arguments(
        "x", *embedding(tmp_path, kind), "data.evaluation={}", "train.early_stopping=null"
    )
    code, _, errors = run_command(["preprocess", recipe, *overrides], capsys)
    assert code == EXIT_USER
    assert message in errors
    assert not (tmp_path / kind / "train").exists()


def test_single_texts_with_scores_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored" / "train.tsv").write_text("1\ta\n2\tb\n", encoding="utf-8")
    own = (*embedding(tmp_path, "scored"), "data.evaluation={}", *SHORT)
    recipe, *overrides = Runs(tmp_path, tmp_path / "runs").arguments("x", *own)
    code, _, errors = run_command(["preprocess", recipe, *overrides], capsys)
    assert code == EXIT_USER
    assert "the corpus has single texts, but objective.loss = cosine_similarity compares" in errors


def test_negatives_may_be_lists_of_json_lines(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ptm.store.reader import TokenStore

    keys = ("anchor", "positive")
    records = []
    for line in lines("triplets", 9, first=0):
        anchor, positive, *negatives = line.split("\t")
        records.append(dict(zip(keys, (anchor, positive), strict=True), negative=negatives))
    records[3]["negative"] = records[3]["negative"][0]
    records[4]["negative"] = []
    text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records * 40)
    (tmp_path / "triplets").mkdir()
    (tmp_path / "triplets" / "train.jsonl").write_text(text.replace('": []', '": ["a"]'), "utf-8")
    own = embedding(tmp_path, "triplets")
    own = tuple(word.replace("train.tsv", "train.jsonl") for word in own)
    recipe, *overrides = Runs(tmp_path, tmp_path / "runs").arguments(
        "x", *own, "data.evaluation={}"
    )
    assert main(["preprocess", recipe, *overrides]) == EXIT_DONE
    store = TokenStore.open(tmp_path / "triplets" / "train")
    _, _, counts = store.sentence_ranges
    assert counts[:9].tolist() == [4, 4, 4, 3, 3, 4, 4, 4, 4]
    assert main(["train", recipe, *overrides, *SHORT]) == EXIT_DONE
