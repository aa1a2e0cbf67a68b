"""Models by Hub id: from the Hub's cache or the network, else an error with instructions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import BertConfig, BertForMaskedLM

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.io.adapter_folder import base_notes
from ptm.interop.hub import hub_folder, looks_like_hub_id
from ptm.interop.sources.open import open_source


@pytest.fixture
def theirs(tmp_path: Path, small_vocab: Path) -> Path:
    size = len(small_vocab.read_text(encoding="utf-8").splitlines())
    config = BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertForMaskedLM(config).save_pretrained(tmp_path / "theirs")
    shutil.copyfile(small_vocab, tmp_path / "theirs" / "vocab.txt")
    return tmp_path / "theirs"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache, without a network to fill it."""
    from huggingface_hub import constants

    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def cached(cache: Path, name: str, files: Path) -> Path:
    """Create a Hub cache entry with `files` as the newest version of `name`."""
    repository = cache / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123abcd")
    return Path(shutil.copytree(files, repository / "snapshots" / "0123abcd"))


@pytest.mark.parametrize("name", ["tiny-bert", "someone/tiny-bert"])
def test_a_cached_model_is_imported_and_opened_without_a_network(
    tmp_path: Path, cache: Path, theirs: Path, name: str
) -> None:
    cached(cache, name, theirs)
    assert main(["import", name, str(tmp_path / "out"), "--from", "hf"]) == EXIT_DONE
    there, here = open_source(name).tensors(), open_source(str(tmp_path / "out")).tensors()
    assert there.keys() == here.keys()
    assert all(torch.equal(there[key], here[key]) for key in there)


def test_without_network_and_cached_copy_the_error_names_the_files_to_download(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["import", "bert-base-chinese", str(out), "--from", "hf"]) == EXIT_USER
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    for part in ("no network", "config.json", "model.safetensors", "huggingface.co/bert-base-ch"):
        assert part in text
    assert not out.exists()


def test_a_cached_model_without_weights_is_rejected(cache: Path, theirs: Path) -> None:
    (cached(cache, "tiny-bert", theirs) / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"neither model\.safetensors nor pytorch_model.bin"):
        hub_folder("tiny-bert")


def test_only_the_files_that_are_needed_are_downloaded(
    theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickles are downloaded only if the model has no safetensors."""
    requests = []

    def download(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        requests.append((name, allow_patterns))
        return str(theirs)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert hub_folder("someone/tiny-bert") == theirs
    (theirs / "model.safetensors").rename(theirs / "pytorch_model.bin")
    assert hub_folder("someone/tiny-bert") == theirs
    first, second, third = (patterns for _, patterns in requests)
    assert first == second
    assert "config.json" in first
    assert "model.safetensors" in first
    assert not any("bin" in pattern for pattern in first)
    assert "pytorch_model.bin" in third
    assert "model.safetensors" not in third


@pytest.mark.parametrize("error", [LocalEntryNotFoundError("x"), OSError("unreachable")])
def test_a_failing_network_is_reported_as_missing(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def download(name: str, allow_patterns: list[str], local_files_only: bool) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match="no network"):
        hub_folder("bert-base-chinese")


def test_paths_are_not_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "here").mkdir()
    for name in ("runs/misspelt", "here", "/absolute", "./bert", "a/b/c", "../bert", "models/"):
        assert not looks_like_hub_id(name), name
    for name in ("bert-base-chinese", "hfl/chinese-roberta-wwm-ext", "nghuyong/ernie-1.0-base-zh"):
        assert looks_like_hub_id(name), name


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("runs/quickstrat", 'runs/quickstrat: no such run. Did you mean "runs/quickstart"?'),
        ("runs/other", "runs/other: no such run. `ptm runs runs` lists the runs."),
        ("rnus/quickstart", 'rnus/quickstart: no such run. Did you mean "runs/quickstart"?'),
        ("quickstart", 'quickstart: no such run. Did you mean "runs/quickstart"?'),
        ("a/b/quickstart", '"a/b/quickstart" is not a folder.'),
        ("exports/smal", 'exports/smal: no such folder. Did you mean "exports/small"?'),
    ],
)
def test_a_misspelt_run_is_an_error_without_the_network(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "quickstart" / "checkpoints").mkdir(parents=True)
    (tmp_path / "exports" / "small").mkdir(parents=True)
    requests = []

    def download(name: str, *, local_files_only: bool, **_: object) -> str:
        requests.append(local_files_only)
        raise LocalEntryNotFoundError("x")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=re.escape(sentence)):
        open_source(name)
    assert False not in requests


def test_without_any_runs_a_name_below_runs_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UserError, match=r"^runs/a: no such run\. The folder runs does not exist\.$"
    ):
        open_source("runs/a")


def test_a_cached_model_with_the_name_of_a_run_is_opened(
    tmp_path: Path, cache: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "tiny-bert" / "checkpoints").mkdir(parents=True)
    there = cached(cache, "tiny-bert", theirs)
    assert open_source("tiny-bert").folder == there


def test_checking_the_inputs_downloads_nothing(
    cache: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ptm validate` reports a model that is not cached, even if it could be downloaded."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError, match="downloaded when it is first needed"):
        open_source("someone/tiny-bert", download=False)
    cached(cache, "someone/tiny-bert", theirs)
    assert open_source("someone/tiny-bert", download=False).tensors()


def test_the_base_of_an_adapter_that_is_not_here_is_noted(theirs: Path, cache: Path) -> None:
    source = open_source(str(theirs))
    tensors = dict(source.tensors())
    (note,) = base_notes("someone/nothing", source, tensors)
    assert note.startswith(
        "someone/nothing is no folder here, so it was taken as the id of a model"
    )
    assert "not compared" in note
    assert base_notes(str(theirs), source, tensors) == ()
