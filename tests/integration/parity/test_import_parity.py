"""An imported model has the same logits in ptm as in transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from ptm.errors import UserError
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.import_config import recipe_blocks
from ptm.interop.sources.open import open_source
from tests.integration.parity.cases import (
    IMPORTS,
    MASKED_IMPORTS,
    PLAIN_IMPORTS,
    SLOW_IMPORTS,
    bert,
    encoder_decoders,
    modernbert,
    params,
)
from tests.integration.parity.cases.models import (
    Import,
    ImportedModel,
    SavedModel,
    import_model,
    save,
)
from tests.integration.parity.conftest import BuildImport, BuildSaved
from tests.support.bert_pairs import POSITIONS, TOLERANCE, difference

BERT = PLAIN_IMPORTS[bert.BERT]
OTHERS = [case for case in PLAIN_IMPORTS.values() if case is not BERT]
MASKED = [case for case in MASKED_IMPORTS if not case.name]


@pytest.fixture(params=params(IMPORTS, slow=SLOW_IMPORTS))
def case(request: pytest.FixtureRequest) -> Import:
    found: Import = request.param
    return found


@pytest.fixture
def model(case: Import, imported: BuildImport) -> ImportedModel:
    return imported(case)


@pytest.fixture
def theirs(case: Import, saved: BuildSaved) -> SavedModel:
    return saved(case)


def mismatch(model: ImportedModel, theirs: SavedModel) -> float:
    logits = theirs.inputs.ptm_logits(model.ours, theirs.inputs.packed)
    return difference(logits, theirs.expected)


def test_packed_rows_have_the_same_logits(model: ImportedModel, theirs: SavedModel) -> None:
    assert float(theirs.expected.abs().max()) == pytest.approx(5.0, rel=1e-3)
    assert mismatch(model, theirs) <= TOLERANCE


def test_the_imported_recipe_has_the_values_of_the_config(
    case: Import, model: ImportedModel, theirs: SavedModel
) -> None:
    assert HuggingFaceFolder(theirs.folder).family.name == case.family.name
    assert model.report.left_out == ()
    recipe = model.recipe.model_dump(mode="json")
    blocks = {**recipe["model"], **recipe["objective"], "objective": recipe["objective"]}
    for block, values in case.recipe.items():
        assert {key: blocks[block][key] for key in values} == values
    embedding: Any = model.recipe.model.embedding
    assert (embedding.positions or 0) >= max(len(row) for row in theirs.inputs.padded["input_ids"])


def round_trips(cases: Iterable[Import]) -> list[Import]:
    return [case for case in cases if case.round_trip]


@pytest.mark.parametrize("case", params(round_trips(IMPORTS), slow=round_trips(SLOW_IMPORTS)))
def test_an_export_of_an_import_has_the_tensors_of_the_original(
    case: Import, model: ImportedModel, theirs: SavedModel, tmp_path: Path
) -> None:
    source = open_source(str(model.folder))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back = type(theirs.theirs).from_pretrained(tmp_path / "back").state_dict()
    saved = theirs.theirs.state_dict()
    for name, tensor in saved.items():
        if f"{name.removesuffix('bias')}decoder.bias" in saved:  # This bias is unused.
            continue
        # ptm computes the positions of a PEGASUS instead of importing them.
        computed = case.family is encoder_decoders.PEGASUS and "embed_positions" in name
        assert float((back[name] - tensor).abs().max()) <= (1e-6 if computed else 0.0), name


def test_a_folder_of_transformers_is_a_source_itself(
    model: ImportedModel, theirs: SavedModel
) -> None:
    source = open_source(str(theirs.folder))
    assert source.recipe().model == model.recipe.model
    weights = source.tensors()
    assert weights.keys() == model.weights.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in model.weights.items())


def test_the_config_without_weights_gives_the_same_model(
    case: Import, model: ImportedModel, theirs: SavedModel
) -> None:
    alone = yaml.safe_load(recipe_blocks(theirs.folder / "config.json"))
    found = open_source(str(theirs.folder)).recipe_data()
    assert alone["model"] == found["model"]
    assert alone["objective"]["type"] == model.recipe.objective.type


@pytest.mark.parametrize("case", params(MASKED))
def test_a_bare_encoder_is_imported_without_a_head(
    case: Import, model: ImportedModel, theirs: SavedModel, tmp_path: Path
) -> None:
    bare = theirs.theirs.base_model
    folder = save(bare, tmp_path / "bare", vocab=theirs.vocab, family=case.family)
    encoder = open_source(str(folder))
    assert encoder.recipe().model == model.recipe.model
    weights = encoder.tensors()
    head = {name for name in model.weights if name.startswith("mlm_")}
    assert head
    assert weights.keys() == model.weights.keys() - head
    assert all(torch.equal(model.weights[name], tensor) for name, tensor in weights.items())


POST_NORM = [case for case in MASKED if case.family is not modernbert.MODERNBERT]


@pytest.mark.parametrize("case", params(POST_NORM))
def test_a_missing_tensor_is_named(case: Import, theirs: SavedModel, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    weights = load_file(folder / "model.safetensors")
    parts = ("embeddings.", ".layer.1.", "albert_layers.0.")
    needed = [name for name in sorted(weights) if any(part in name for part in parts)]
    assert len(needed) > 5
    for name in needed:
        rest = {key: value for key, value in weights.items() if key != name}
        save_file(rest, folder / "model.safetensors")
        with pytest.raises(UserError, match=name):
            open_source(str(folder)).tensors()


Tensors = dict[str, Tensor]


def tensorflow_names(weights: Tensors) -> Tensors:
    """Names of checkpoints converted from TensorFlow."""
    return {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in weights.items()
    }


def both_copies(weights: Tensors) -> Tensors:
    """Older files store tied tensors twice, and the position ids."""
    return {
        **weights,
        "cls.predictions.decoder.weight": weights["bert.embeddings.word_embeddings.weight"].clone(),
        "cls.predictions.decoder.bias": weights["cls.predictions.bias"].clone(),
        "bert.embeddings.position_ids": torch.arange(POSITIONS)[None],
    }


def decoder_bias_alone(weights: Tensors) -> Tensors:
    """A file may store a tied tensor under either of its two names."""
    bias = weights["cls.predictions.bias"]
    rest = {name: tensor for name, tensor in weights.items() if name != "cls.predictions.bias"}
    return {**rest, "cls.predictions.decoder.bias": bias}


@pytest.mark.parametrize("change", [tensorflow_names, both_copies, decoder_bias_alone])
def test_a_bert_with_other_tensor_names_has_the_same_logits(
    tmp_path: Path, saved: BuildSaved, change: Callable[[Tensors], Tensors]
) -> None:
    theirs = saved(BERT)
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    assert mismatch(import_model(folder, tmp_path / "out"), theirs) <= TOLERANCE


def into_bin(folder: Path) -> None:
    """Weights in torch's format."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def into_shards(folder: Path) -> None:
    """Weights in three files and an index."""
    weights = load_file(folder / "model.safetensors")
    index = {}
    for shard, names in enumerate((sorted(weights)[first::3] for first in range(3)), start=1):
        file = f"model-{shard:05}-of-00003.safetensors"
        save_file({name: weights[name] for name in names}, folder / file)
        index.update(dict.fromkeys(names, file))
    (folder / "model.safetensors").unlink()
    text = json.dumps({"metadata": {}, "weight_map": index})
    (folder / "model.safetensors.index.json").write_text(text)


def into_bin_shards(folder: Path) -> None:
    """Weights in three files of torch's format and an index."""
    into_shards(folder)
    for shard in folder.glob("model-*.safetensors"):
        torch.save(load_file(shard), folder / f"pytorch_{shard.stem}.bin")
        shard.unlink()
    index = folder / "model.safetensors.index.json"
    text = index.read_text().replace(".safetensors", ".bin").replace('"model-', '"pytorch_model-')
    index.unlink()
    (folder / "pytorch_model.bin.index.json").write_text(text)


LAYOUTS = [into_bin, into_shards, into_bin_shards]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", params([BERT], slow=OTHERS))
def test_another_layout_of_the_weights_has_the_same_logits(
    tmp_path: Path, theirs: SavedModel, layout: Callable[[Path], None]
) -> None:
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    layout(folder)
    assert mismatch(import_model(folder, tmp_path / "out"), theirs) <= TOLERANCE


def test_shards_written_by_transformers_have_the_same_logits(
    tmp_path: Path, saved: BuildSaved
) -> None:
    theirs = saved(BERT)
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    (folder / "model.safetensors").unlink()
    theirs.theirs.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert mismatch(import_model(folder, tmp_path / "out"), theirs) <= TOLERANCE


def test_bfloat16_weights_have_the_same_logits(tmp_path: Path, saved: BuildSaved) -> None:
    theirs = saved(BERT)
    half = type(theirs.theirs).from_pretrained(theirs.folder).to(torch.bfloat16)
    save(half, tmp_path / "half", vocab=theirs.vocab, family=bert.BERT)
    model = import_model(tmp_path / "half", tmp_path / "out")
    logits = theirs.inputs.ptm_logits(model.ours, theirs.inputs.packed)
    assert difference(logits, theirs.inputs.hf_logits(half.float().eval())) <= TOLERANCE


def test_an_untied_bert_reads_the_bias_that_transformers_reads(
    tmp_path: Path, saved: BuildSaved
) -> None:
    """It reads `decoder.bias`, not `bias`; transformers 4 saved both with the same values."""
    case = next(one for one in bert.IMPORTS if str(one) == "bert-gelu_new-untied")
    theirs = saved(case)
    weights = load_file(theirs.folder / "model.safetensors")
    bias, read = "cls.predictions.bias", "cls.predictions.decoder.bias"
    assert not torch.equal(weights[bias], weights[read])
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    save_file({**weights, bias: weights[read].clone()}, folder / "model.safetensors")
    model = import_model(folder, tmp_path / "out")
    assert mismatch(model, theirs) <= TOLERANCE
    assert not model.recipe.objective.head.tied  # type: ignore[attr-defined]


def test_an_import_keeps_dropout_epsilon_and_case(tmp_path: Path, saved: BuildSaved) -> None:
    theirs = saved(BERT)
    folder = Path(shutil.copytree(theirs.folder, tmp_path / "saved"))
    config = json.loads((folder / "config.json").read_text())
    changes = {
        "hidden_dropout_prob": 0.25,
        "attention_probs_dropout_prob": 0.05,
        "layer_norm_eps": 1e-6,
    }
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    recipe = import_model(folder, tmp_path / "out").recipe
    encoder: Any = recipe.model.encoder
    assert recipe.model.dropout == 0.25
    assert recipe.model.attention_dropout == 0.05
    assert encoder.norm_epsilon == 1e-6
    assert recipe.model.embedding.positions == POSITIONS
    assert not recipe.tokenizer.lowercase
