"""Checkpoints with old names, with heads of fine-tuning, and with a part of a head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import T5ForSequenceClassification

from ptm.errors import UserError
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.import_model import import_from_huggingface
from tests.integration.parity.cases import IMPORTS, PLAIN_IMPORTS, albert, encoder_decoders
from tests.integration.parity.cases.models import SavedModel
from tests.integration.parity.conftest import BuildSaved

CASES = {str(case): case for case in IMPORTS}
Tensors = dict[str, torch.Tensor]


def changed(
    theirs: SavedModel,
    out: Path,
    change: Callable[[Tensors], Tensors] = lambda tensors: tensors,
    **keys: Any,
) -> Path:
    """A copy of a model with changed tensors and keys of the config."""
    shutil.copytree(theirs.folder, out)
    save_file(change(load_file(out / "model.safetensors")), out / "model.safetensors")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, **keys}))
    return out


def without(*parts: str) -> Callable[[Tensors], Tensors]:
    """Removes the tensors whose names contain one of `parts`."""
    return lambda tensors: {
        name: tensor for name, tensor in tensors.items() if not any(p in name for p in parts)
    }


def gamma_and_beta(tensors: Tensors) -> Tensors:
    found = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if module.lower().endswith(("layernorm", "layer_norm")):
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        found[f"{module}.{kind}"] = tensor
    return found


def same(found: Path, expected: Path) -> bool:
    mine, theirs = (HuggingFaceFolder(folder).canonical() for folder in (found, expected))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[n], theirs[n]) for n in mine)


def test_an_albert_whose_norms_are_gamma_and_beta_is_imported(
    tmp_path: Path, saved: BuildSaved
) -> None:
    theirs = saved(PLAIN_IMPORTS[albert.ALBERT])
    assert same(changed(theirs, tmp_path / "old", gamma_and_beta), theirs.folder)


def test_a_t5_that_classifies_sequences_is_imported_with_its_head(
    tmp_path: Path, saved: BuildSaved
) -> None:
    theirs = saved(PLAIN_IMPORTS[encoder_decoders.T5])
    model = T5ForSequenceClassification(theirs.theirs.config)
    folder = changed(theirs, tmp_path / "classifier")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder)
    report = import_from_huggingface(str(folder), tmp_path / "out")
    assert report.left_out == ()
    found = HuggingFaceFolder(folder).canonical()
    assert torch.equal(found["word_embedding.weight"], model.transformer.shared.weight)
    assert torch.equal(found["classifier.weight"], model.classification_head.out_proj.weight)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bert", ["cls.predictions.transform.dense."]),
        ("bert", ["cls.predictions.transform."]),
        ("bert", ["cls.predictions.transform.dense.weight"]),
        ("roberta", ["lm_head.dense."]),
        ("distilbert", ["vocab_transform."]),
        ("albert", ["predictions.dense."]),
        ("modernbert", ["decoder.bias"]),
        ("modernbert", ["head.dense."]),
    ],
    ids=str,
)
def test_a_head_without_its_first_or_last_module_is_rejected(
    tmp_path: Path, saved: BuildSaved, name: str, parts: list[str]
) -> None:
    folder = changed(saved(CASES[name]), tmp_path / "part", without(*parts))
    with pytest.raises(UserError, match="A head must be there whole or not at all"):
        import_from_huggingface(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


WORD_TABLES = ("word_embeddings.weight", "tok_embeddings.weight", "wte.weight", "shared.weight")
OUTPUTS = {
    "bert": "cls.predictions.decoder.weight",
    "modernbert": "decoder.weight",
    "gpt2": "lm_head.weight",
    "bart": "lm_head.weight",
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_error_of_another_output_of_a_tied_model_names_the_key(
    tmp_path: Path, saved: BuildSaved, name: str
) -> None:
    def change(tensors: Tensors) -> Tensors:
        words = next(t for n, t in tensors.items() if n.endswith(WORD_TABLES))
        return {**tensors, OUTPUTS[name]: words + 1}

    folder = changed(saved(CASES[name]), tmp_path / "theirs", change)
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(folder), tmp_path / "out")
    assert str(caught.value) == (
        f"{folder}: {OUTPUTS[name]} differs from the word embedding, but tie_word_embeddings in "
        "config.json is not false. If the output is not tied, set it to false."
    )


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"model_type": "nezha"}, 'model_type "nezha" is not supported. Supported: albert, '),
        ({"quantization_config": {"bits": 4}}, "config.json: the model is quantized ("),
    ],
    ids=str,
)
def test_an_error_names_the_folder_once_and_the_reason(
    tmp_path: Path, saved: BuildSaved, keys: dict[str, Any], sentence: str
) -> None:
    folder = changed(saved(CASES["bert"]), tmp_path / "theirs", **keys)
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(folder), tmp_path / "out")
    assert str(caught.value).startswith(f"{folder}: {sentence}")
