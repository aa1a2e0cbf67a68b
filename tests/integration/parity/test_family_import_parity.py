"""What transformers saved of a family gives, imported, the logits it gives there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForMaskedLM,
    BertForMaskedLM,
    ErnieForMaskedLM,
    PretrainedConfig,
    RobertaForMaskedLM,
)

from ptm.errors import UserError
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.interop.importing import import_from_huggingface
from ptm.interop.source import open_source
from ptm.model.build import PlainModel, build_plan
from ptm.model.loaded import loaded_model
from ptm.recipe import Recipe
from tests.support.bert_pairs import (
    TOLERANCE,
    Rows,
    difference,
    examples_of,
    hf_logits_alone,
    laid_out,
    packed,
    ptm_logits,
    recipe_of,
)
from tests.support.family_cases import CASES, FamilyCase


class Theirs:
    """A family's vocabulary, texts under it, and folders of its models."""

    def __init__(self, case: FamilyCase, folder: Path, small_vocab: Path, texts: list[str]) -> None:
        self.case = case
        self.vocab = case.vocab(small_vocab, folder)
        self.tokenizer = recipe_of(case.blocks(self.vocab)).tokenizer.load()
        self.size = self.tokenizer.vocabulary.size
        self.examples: list[Tensor] = examples_of(self.tokenizer, texts, longest=48)

    @property
    def rows(self) -> Rows:
        pad = self.tokenizer.vocabulary.special_id("pad")
        return laid_out([[ids] for ids in self.examples], pad=pad)

    def save(self, folder: Path, model: nn.Module) -> Path:
        """What save_pretrained writes, and a vocabulary."""
        model.save_pretrained(folder)
        shutil.copyfile(self.vocab, folder / "vocab.txt")
        named = {f"{role}_token": token for role, token in self.case.specials.items()}
        (folder / "tokenizer_config.json").write_text(json.dumps(named))
        return folder


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def theirs(
    request: pytest.FixtureRequest, tmp_path: Path, bundled_texts: list[str], small_vocab: Path
) -> Theirs:
    return Theirs(request.param, tmp_path, small_vocab, bundled_texts)


def imported(folder: Path, out: Path) -> tuple[PlainModel, Recipe]:
    """The folder through `ptm import`, as a model."""
    import_from_huggingface(str(folder), out)
    source = open_source(str(out))
    recipe = source.recipe()
    size = recipe.tokenizer.load().vocabulary.size
    plan = build_plan(recipe.model, recipe.objective, vocabulary_size=size)
    return loaded_model(plan, source.tensors(), source=str(out)), recipe


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_saved_model_has_the_same_logits(tmp_path: Path, theirs: Theirs, tied: bool) -> None:
    config = theirs.case.config(theirs.size)
    config.tie_word_embeddings = tied
    model = theirs.case.random_model(config, theirs.rows)
    folder = theirs.save(tmp_path / "theirs", model)
    assert HuggingFaceFolder(folder).family.name == theirs.case.model_type.replace("-", "_")
    ours, recipe = imported(folder, tmp_path / "out")
    assert recipe.objective.head.tied == tied
    logits = ptm_logits(ours, packed(theirs.examples, columns=128))
    assert difference(logits, hf_logits_alone(model, theirs.examples)) <= TOLERANCE


def test_it_goes_back_to_transformers_unchanged(tmp_path: Path, theirs: Theirs) -> None:
    if theirs.case.model_type == "xlm-roberta":
        pytest.skip("without SentencePiece it goes back as a RoBERTa")
    model = theirs.case.random_model(theirs.case.config(theirs.size), theirs.rows)
    imported(theirs.save(tmp_path / "theirs", model), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    back = AutoModelForMaskedLM.from_pretrained(tmp_path / "back").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.equal(back[name], tensor), name


def test_a_bare_encoder_is_the_same_without_a_head(tmp_path: Path, theirs: Theirs) -> None:
    model = theirs.case.random_model(theirs.case.config(theirs.size), theirs.rows)
    folder = theirs.save(tmp_path / "theirs", model)
    bare = theirs.save(tmp_path / "bare", model.base_model)
    whole, encoder = open_source(str(folder)), open_source(str(bare))
    assert encoder.recipe().model == whole.recipe().model
    there = whole.tensors()
    assert there.keys() - encoder.tensors().keys() == {n for n in there if n.startswith("mlm_")}
    assert all(torch.equal(there[name], tensor) for name, tensor in encoder.tensors().items())


def test_a_missing_tensor_is_named(tmp_path: Path, theirs: Theirs) -> None:
    folder = theirs.save(tmp_path / "theirs", theirs.case.model(theirs.case.config(theirs.size)))
    weights = load_file(folder / "model.safetensors")
    for name in sorted(weights):
        if "embeddings." in name or ".layer.1." in name:
            rest = {key: value for key, value in weights.items() if key != name}
            save_file(rest, folder / "model.safetensors")
            with pytest.raises(UserError, match=name):
                open_source(str(folder)).tensors()


def test_an_export_that_calls_itself_roberta_and_is_a_bert_is_one(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    """As roberta-wwm-ext: the positions of its BERT begin at 0."""
    case = CASES["ernie"]
    there = Theirs(case, tmp_path, small_vocab, bundled_texts)
    config = case.config(there.size)
    config.use_task_id = False
    bert = BertForMaskedLM(plain(config, "bert"))
    folder = there.save(tmp_path / "theirs", bert)
    for said in ({"model_type": "roberta"}, {"model_type": None}, {}):
        written = json.loads((folder / "config.json").read_text())
        written.update(said)
        changed = {key: value for key, value in written.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(changed))
        assert HuggingFaceFolder(folder).family.name == "bert"
        assert open_source(str(folder)).recipe().model.embedding.position_offset == 0


def plain(config: PretrainedConfig, model_type: str) -> PretrainedConfig:
    """BERT's config with another's sizes."""
    from transformers import AutoConfig

    said = config.to_dict()
    for key in ("model_type", "use_task_id", "task_type_vocab_size"):
        said.pop(key)
    return AutoConfig.for_model(model_type, **said)


def test_an_ernie_without_tasks_goes_out_as_a_bert_with_the_same_logits(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    there = Theirs(CASES["ernie"], tmp_path, small_vocab, bundled_texts)
    config = there.case.config(there.size)
    config.use_task_id = False
    model = there.case.random_model(config, there.rows)
    assert isinstance(model, ErnieForMaskedLM)
    folder = there.save(tmp_path / "theirs", model)
    source = open_source(str(folder))
    assert "task" not in source.recipe().model.embedding.of
    export_to_huggingface(source, tmp_path / "out", weights_format="safetensors")
    out = AutoModelForMaskedLM.from_pretrained(tmp_path / "out").eval()
    assert out.config.model_type == "bert"
    expected = hf_logits_alone(model, there.examples)
    assert difference(hf_logits_alone(out, there.examples), expected) <= TOLERANCE


CONTRADICTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("ernie", {"use_task_id": False}, "task_type_embeddings"),
    ("ernie", {"type_vocab_size": 2}, "type_vocab_size = 2"),
    ("ernie", {"task_type_vocab_size": 5}, "task_type_vocab_size = 5"),
    ("roberta", {"num_hidden_layers": 1}, "1 layers"),
    ("roberta", {"hidden_act": "relu"}, "hidden_act"),
    ("roberta", {"pad_token_id": 0}, "padding token of id 0"),
    ("roberta", {"vocab_size": 7}, "vocab_size = 7"),
    ("distilbert", {"n_layers": 1}, "1 layers"),
    ("distilbert", {"dim": ...}, "dim"),
]


@pytest.mark.parametrize(("name", "changes", "named"), CONTRADICTIONS)
def test_a_config_that_contradicts_the_tensors_is_refused(
    tmp_path: Path,
    small_vocab: Path,
    bundled_texts: list[str],
    name: str,
    changes: dict[str, Any],
    named: str,
) -> None:
    there = Theirs(CASES[name], tmp_path, small_vocab, bundled_texts)
    folder = there.save(tmp_path / "theirs", there.case.model(there.case.config(there.size)))
    written = json.loads((folder / "config.json").read_text())
    written.update(changes)
    changed = {key: value for key, value in written.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(UserError, match=named):
        import_from_huggingface(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_roberta_whose_head_has_another_activation_is_refused_here_too() -> None:
    """transformers' head has gelu whatever hidden_act says."""
    config = CASES["roberta"].config(30)
    config.hidden_act = "relu"
    model = RobertaForMaskedLM(config)
    from torch.nn import functional

    states = torch.randn(1, 2, config.hidden_size)
    inner = functional.gelu(model.lm_head.dense(states))
    expected = model.lm_head.decoder(model.lm_head.layer_norm(inner))
    assert torch.equal(model.lm_head(states), expected)
