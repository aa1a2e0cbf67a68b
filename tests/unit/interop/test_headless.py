"""Encoders without a head: exported without one; imports name the tensors they leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AlbertConfig,
    AlbertModel,
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ErnieConfig,
    ErnieModel,
    ModernBertConfig,
    ModernBertModel,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaModel,
)

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.interop.sources.open import open_source

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
ROLES = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
MODERN = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3}

ENCODERS: dict[str, tuple[type[PreTrainedModel], PretrainedConfig]] = {
    "bert": (BertModel, BertConfig(**SIZES)),
    "roberta": (RobertaModel, RobertaConfig(**SIZES)),
    "albert": (AlbertModel, AlbertConfig(**SIZES, embedding_size=16)),
    "ernie": (ErnieModel, ErnieConfig(**SIZES, use_task_id=True)),
    "distilbert": (DistilBertModel, DistilBertConfig(**DISTILBERT, max_position_embeddings=64)),
    "modernbert": (ModernBertModel, ModernBertConfig(**SIZES, **MODERN, sep_token_id=3)),
}


def saved(folder: Path, build: Any, config: PretrainedConfig, small_vocab: Path) -> PreTrainedModel:
    """Save a model of transformers to a folder, with a vocabulary of its size."""
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    special = FAIRSEQ if config.model_type == "roberta" else tuple(tokens[:5])
    config.vocab_size = len(tokens)
    torch.manual_seed(1)
    model: PreTrainedModel = build(config).eval()
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join((*special, *tokens[5:])) + "\n", encoding="utf-8")
    if special == FAIRSEQ:
        text = json.dumps(dict(zip(ROLES, FAIRSEQ, strict=True)))
        (folder / "tokenizer_config.json").write_text(text)
    return model


def imported(folder: Path, out: Path) -> Path:
    assert main(["import", str(folder), str(out), "--from", "hf"]) == EXIT_DONE
    return out


@pytest.mark.parametrize("family", ENCODERS)
def test_a_bare_encoder_is_exported_as_the_bare_architecture(
    tmp_path: Path, small_vocab: Path, family: str
) -> None:
    build, config = ENCODERS[family]
    model = saved(tmp_path / "theirs", build, config, small_vocab)
    source = imported(tmp_path / "theirs", tmp_path / "in")
    back = tmp_path / "back"
    assert main(["export", str(source), str(back), "--to", "hf"]) == EXIT_DONE
    assert json.loads((back / "config.json").read_text())["architectures"] == [build.__name__]
    there = load_file(back / "model.safetensors")
    assert there.keys() == {n for n in model.state_dict() if "pooler" not in n}
    loaded, report = AutoModel.from_pretrained(back, output_loading_info=True)
    assert type(loaded) is build
    assert all(name.startswith("pooler.") for name in report["missing_keys"])
    assert not report["unexpected_keys"]
    ids = torch.tensor([[2, 7, 9, 11, 3]])
    with torch.no_grad():
        ours, theirs = (m.eval()(ids).last_hidden_state for m in (loaded, model))
    assert torch.equal(ours, theirs)
    card = (back / "README.md").read_text(encoding="utf-8")
    assert "import AutoModel, AutoTokenizer" in card
    again = open_source(str(back)).tensors()
    assert again.keys() == open_source(str(source)).tensors().keys()


def test_a_bare_encoder_cannot_be_exported_to_uer(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "theirs", *ENCODERS["bert"], small_vocab)
    source = imported(tmp_path / "theirs", tmp_path / "in")
    assert main(["export", str(source), str(tmp_path / "back"), "--to", "uer"]) == EXIT_USER
    assert "without the head of its objective" in capsys.readouterr().err
    assert not list(tmp_path.glob("back*"))


def test_a_pair_head_without_an_mlm_head_cannot_be_exported(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "theirs", BertForNextSentencePrediction, BertConfig(**SIZES), small_vocab)
    source = imported(tmp_path / "theirs", tmp_path / "in")
    for to in ("hf", "uer"):
        assert main(["export", str(source), str(tmp_path / "back"), "--to", to]) == EXIT_USER
        assert "no masked-token head" in capsys.readouterr().err


@pytest.mark.parametrize("family", ENCODERS)
def test_an_import_names_the_tensors_that_it_leaves_out(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    model = saved(tmp_path / "theirs", *ENCODERS[family], small_vocab)
    imported(tmp_path / "theirs", tmp_path / "in")
    poolers = sorted(name for name in model.state_dict() if "pooler" in name)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines == [
        "tensors that were not imported, because this model has no equivalent: "
        f"{', '.join(poolers)}"
    ] * bool(poolers)


def test_only_the_first_of_many_left_out_tensors_are_named(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path / "theirs", BertForMaskedLM, BertConfig(**SIZES), small_vocab)
    weights = load_file(tmp_path / "theirs" / "model.safetensors")
    weights |= {f"classifier.{index}": torch.ones(2) for index in range(9)}
    # Tied copies, which .bin files contain, do not count as left out.
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    (tmp_path / "theirs" / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "theirs" / "pytorch_model.bin")
    imported(tmp_path / "theirs", tmp_path / "in")
    line = capsys.readouterr().out.splitlines()[-1]
    named = ", ".join(f"classifier.{index}" for index in range(6))
    assert line.endswith(f": {named} and 3 more")
