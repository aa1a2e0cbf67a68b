"""An exported model has the same logits in transformers as in ptm.

Every case of `cases/` is built once. By default each option of a family is in at least one case;
whole matrices are slow.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.sources.base import ModelSource
from ptm.interop.sources.open import open_source
from tests.integration.parity.cases import (
    EXPORTS,
    PLAIN_EXPORTS,
    SLOW_EXPORTS,
    albert,
    bert,
    params,
)
from tests.integration.parity.cases.models import Export, ExportedModel, export_model
from tests.integration.parity.conftest import BuildExport
from tests.support.bert_pairs import LARGEST_LOGIT, MINI, TOLERANCE, difference


@pytest.fixture(params=params(EXPORTS, slow=SLOW_EXPORTS))
def case(request: pytest.FixtureRequest) -> Export:
    found: Export = request.param
    return found


@pytest.fixture
def model(case: Export, exported: BuildExport) -> ExportedModel:
    return exported(case)


def test_single_rows_have_the_same_logits(model: ExportedModel) -> None:
    for index in range(4):
        ours = model.inputs.ptm_logits(model.ours, model.inputs.single(index))
        theirs = model.inputs.hf_logits(model.theirs, [index])
        assert difference(ours, theirs) <= TOLERANCE


def test_padded_rows_have_the_same_logits(model: ExportedModel) -> None:
    rows = model.inputs.padded
    lengths = (rows["example_ids"] > 0).sum(dim=1)
    assert lengths.unique().numel() > 3, "rows of several lengths"
    ours = model.inputs.ptm_logits(model.ours, rows)
    assert difference(ours, model.inputs.hf_logits_padded(model.theirs)) <= TOLERANCE


def test_a_packed_row_has_the_logits_of_its_separate_examples(model: ExportedModel) -> None:
    rows = model.inputs.packed
    assert len(rows["input_ids"]) <= len(model.inputs.padded["input_ids"]) / 2, "packed rows"
    assert model.mismatch(model.inputs.ptm_logits(model.ours, rows)) <= TOLERANCE


def test_the_compared_logits_are_large_and_spread(model: ExportedModel) -> None:
    assert float(model.expected.abs().max()) == pytest.approx(LARGEST_LOGIT, rel=1e-3)
    assert float(model.expected.std()) > 0.5


def test_transformers_loads_every_tensor_as_the_right_class(model: ExportedModel) -> None:
    family = model.case.family
    assert type(model.theirs) is family.hf_class
    assert HuggingFaceFolder(model.folder).family.name == family.name
    # transformers has no public attribute for it.
    attention = model.theirs.config._attn_implementation  # noqa: SLF001
    assert attention == model.case.attention
    assert not any(model.loading_info.values()), model.loading_info
    written = {path.name for path in model.folder.iterdir()}
    is_bin = model.case.weights_format == "bin"
    assert ("pytorch_model.bin" in written, "model.safetensors" in written) == (is_bin, not is_bin)


def lossless(cases: Iterable[Export]) -> list[Export]:
    return [case for case in cases if case.lossless]


def without_recipe(folder: Path, out: Path) -> Path:
    """A copy without recipe.yaml, so that only config and tensors describe the model."""
    ignored = shutil.ignore_patterns("recipe.yaml", "README.md")
    return Path(shutil.copytree(folder, out, ignore=ignored))


def assert_same_blocks(source: ModelSource, model: ExportedModel) -> None:
    found, expected = source.recipe(), model.recipe
    parts = ["embedding", "encoder", "decoder"]
    if expected.model.decoder is not None:
        parts.append("decoder_embedding")
    for part in parts:
        assert getattr(found.model, part) == getattr(expected.model, part), part
    assert found.objective.type == expected.objective.type
    assert found.objective.head == expected.objective.head  # type: ignore[attr-defined]


@pytest.mark.parametrize("case", params(lossless(EXPORTS), slow=lossless(SLOW_EXPORTS)))
@pytest.mark.parametrize("with_recipe", [True, False], ids=["recipe", "no_recipe"])
def test_an_export_is_read_back_bit_for_bit(
    model: ExportedModel, tmp_path: Path, with_recipe: bool
) -> None:
    folder = model.folder if with_recipe else without_recipe(model.folder, tmp_path / "bare")
    source = open_source(str(folder))
    back = source.tensors()
    assert back.keys() == model.weights.keys()
    for name, tensor in model.weights.items():
        # transformers has no row for padding in the segment embedding; no token reads it.
        rows = slice(1, None) if name == "embedding.segment.weight" else slice(None)
        assert torch.equal(back[name][rows], tensor[rows]), name
    assert_same_blocks(source, model)
    assert HuggingFaceFolder(folder).left_out(back) == []


HEADS = ("cls.", "vocab_", "lm_head.", "predictions.", "head.", "decoder.bias", "final_logits_bias")


@pytest.mark.parametrize("case", params(PLAIN_EXPORTS.values()))
def test_the_bare_model_loads_without_missing_a_tensor(exported: BuildExport, case: Export) -> None:
    # A masked language model has no trained pooler.
    has_pooler = case.family in (bert.BERT, bert.ROBERTA, bert.ERNIE, albert.ALBERT)
    options = {"add_pooling_layer": False} if has_pooler else {}
    _, info = AutoModel.from_pretrained(exported(case).folder, output_loading_info=True, **options)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert all(name.startswith(HEADS) for name in info["unexpected_keys"])


def test_logits_are_equal_in_double_precision(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    # Double precision shows differences below fp32's tolerance, such as another epsilon.
    case = Export(bert.BERT, "mini", {"encoder": bert.sizes_of(MINI)})
    model = export_model(case, tmp_path, vocab=small_vocab, texts=bundled_texts)
    model.theirs.double()
    ours = model.inputs.ptm_logits(model.ours.double(), model.inputs.packed)
    assert ours.dtype == torch.float64
    assert model.mismatch(ours) <= 1e-13


@pytest.mark.parametrize("case", params((), slow=bert.BASE_EXPORTS))
def test_a_base_sized_model_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str], case: Export
) -> None:
    model = export_model(case, tmp_path, vocab=small_vocab, texts=bundled_texts)
    ours = model.inputs.ptm_logits(model.ours, model.inputs.packed)
    assert model.mismatch(ours) <= TOLERANCE
    padded = model.inputs.ptm_logits(model.ours, model.inputs.padded)
    assert difference(padded, model.inputs.hf_logits_padded(model.theirs)) <= TOLERANCE
