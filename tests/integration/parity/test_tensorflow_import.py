"""Google's TensorFlow 1 checkpoints have the same logits in ptm as in transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from transformers import AlbertConfig, AlbertForPreTraining, BertConfig, BertForPreTraining

from ptm.cli import main
from ptm.errors import UserError
from ptm.interop.import_model import Imported, import_from_tensorflow
from ptm.interop.sources.open import open_source
from ptm.model.plain_model import loaded_model
from tests.support.bert_pairs import TOLERANCE, difference, plan_of
from tests.support.tensor_bundles import stored, write_bundle
from tests.support.tf1_weights import (
    ALBERT_CONFIG,
    BERT_CONFIG,
    TOKENS,
    Variables,
    albert_variables,
    bert_variables,
)

FIXTURES = Path(__file__).parents[2] / "fixtures" / "tf1"
FIXTURE = {"bert": FIXTURES / "bert", "albert": FIXTURES / "albert"}
BERT_NAMES = (
    ("bert.embeddings.", "bert/embeddings/"),
    ("_embeddings.weight", "_embeddings"),
    ("cls.predictions.bias", "cls/predictions/output_bias"),
    ("cls.seq_relationship.weight", "cls/seq_relationship/output_weights"),
    ("cls.seq_relationship.bias", "cls/seq_relationship/output_bias"),
    ("LayerNorm.weight", "LayerNorm/gamma"),
    ("LayerNorm.bias", "LayerNorm/beta"),
    ("encoder.layer.", "encoder/layer_"),
    (".weight", "/kernel"),
    (".", "/"),
)
ALBERT_NAMES = (
    ("albert.embeddings.", "bert/embeddings/"),
    ("_embeddings.weight", "_embeddings"),
    ("predictions.bias", "cls/predictions/output_bias"),
    ("sop_classifier.classifier.weight", "cls/seq_relationship/output_weights"),
    ("sop_classifier.classifier.bias", "cls/seq_relationship/output_bias"),
    ("full_layer_layer_norm", "LayerNorm_1"),
    ("attention.LayerNorm", "LayerNorm"),
    ("LayerNorm.weight", "LayerNorm/gamma"),
    ("LayerNorm.bias", "LayerNorm/beta"),
    ("LayerNorm_1.weight", "LayerNorm_1/gamma"),
    ("LayerNorm_1.bias", "LayerNorm_1/beta"),
    ("albert.encoder.albert_layer_groups.0.albert_layers.0.", "GROUP."),
    ("GROUP.attention.dense", "GROUP.attention_1.output.dense"),
    *((f"GROUP.attention.{part}", f"GROUP.attention_1.self.{part}") for part in "qkv"),
    ("GROUP.ffn_output", "GROUP.ffn_1.intermediate.output.dense"),
    ("GROUP.ffn.", "GROUP.ffn_1.intermediate.dense."),
    ("GROUP", "bert/encoder/transformer/group_0/inner_group_0"),
    ("albert.encoder.", "bert/encoder/"),
    ("albert.pooler", "bert/pooler/dense"),
    ("predictions.", "cls/predictions/transform/"),
    (".weight", "/kernel"),
    (".", "/"),
)


def with_weights(model: Any, variables: Variables, names: tuple[tuple[str, str], ...]) -> Any:
    """transformers' model with Google's variables, found by replacing parts of its own names."""
    remaining = set(variables)
    for name, parameter in model.named_parameters():
        theirs = name
        for ours, other in names:
            theirs = theirs.replace(ours, other)
        value = torch.from_numpy(variables[theirs])
        remaining.discard(theirs)
        with torch.no_grad():
            parameter.copy_(value.T if theirs.endswith("kernel") else value)
    assert not remaining
    return model.eval()


def bert() -> Any:
    model = BertForPreTraining(BertConfig(**BERT_CONFIG))
    return with_weights(model, bert_variables(), BERT_NAMES)


def albert() -> Any:
    # Google's ALBERT computes gelu by tanh, which transformers calls gelu_new.
    model = AlbertForPreTraining(AlbertConfig(**{**ALBERT_CONFIG, "hidden_act": "gelu_new"}))
    return with_weights(model, albert_variables(), ALBERT_NAMES)


MODELS: dict[str, Callable[[], Any]] = {"bert": bert, "albert": albert}
VARIABLES = {"bert": bert_variables, "albert": albert_variables}


def imported(source: Path, out: Path, **options: Any) -> Imported:
    return import_from_tensorflow(str(source), out, config=None, vocab=None, **options)


def logits_of(out: Path, ids: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """ptm's logits of one text: of all tokens (T, V), and of its pair head (1, 2)."""
    source = open_source(str(out))
    model = loaded_model(plan_of(source.recipe()), source.tensors(), source=str(out))
    length = torch.arange(len(ids))
    tensors = {
        "input_ids": ids[None],
        "position_ids": length[None],
        "segment_ids": segments[None] + 1,
        "example_ids": torch.ones_like(ids)[None],
        "predicted_positions": length,
        "pair_positions": torch.tensor([0]),
    }
    with torch.no_grad():
        found = model(tensors)
    return found["logits"], found["pair_logits"]


def edited(tmp_path: Path, **changes: Any) -> Path:
    """A copy of the BERT fixture with changes to its config; `...` removes a key."""
    folder = tmp_path / "theirs"
    shutil.copytree(FIXTURE["bert"], folder)
    path = folder / "bert_config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return folder


def with_variables(tmp_path: Path, variables: Variables) -> Path:
    """A folder like the BERT fixture with these variables."""
    folder = edited(tmp_path)
    for path in folder.glob("bert_model.ckpt*"):
        path.unlink()
    write_bundle(folder / "bert_model.ckpt", {n: stored(v) for n, v in variables.items()})
    return folder


def error_of(source: Path, tmp_path: Path, **options: Any) -> str:
    """The message of a failing import, which must leave nothing behind."""
    with pytest.raises(UserError) as caught:
        imported(source, tmp_path / "out", **options)
    assert not list(tmp_path.glob("out*"))
    return str(caught.value)


@pytest.mark.parametrize("name", MODELS)
def test_logits_equal_those_of_transformers(name: str, tmp_path: Path) -> None:
    imported(FIXTURE[name], tmp_path / "out")
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, len(TOKENS), (17,), generator=generator)
    segments = torch.tensor([0] * 9 + [1] * 8)
    with torch.no_grad():
        theirs = MODELS[name]()(ids[None], token_type_ids=segments[None])
    tokens, pairs = logits_of(tmp_path / "out", ids, segments)
    assert difference(tokens, theirs.prediction_logits[0]) <= TOLERANCE
    second = theirs.seq_relationship_logits if name == "bert" else theirs.sop_logits
    assert difference(pairs, second) <= TOLERANCE


def test_the_optimizer_is_left_out_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["import", "--from", "tf", str(FIXTURE["bert"] / "bert_model.ckpt"), str(out)]) == 0
    printed = capsys.readouterr().out
    slots = 2 * len(bert_variables()) + 1
    assert f"state of the optimizer, not imported: {slots} variables" in printed
    assert "(adam_m, adam_v, global_step)" in printed
    values = sum(value.size for value in bert_variables().values())
    # ptm's segment table has a row for padding, which Google's has not.
    assert f"{values + BERT_CONFIG['hidden_size']:,} parameters" in printed
    assert "not imported, because this model has no equivalent" not in printed


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_source_may_be_the_prefix_or_one_of_its_files(ending: str, tmp_path: Path) -> None:
    imported(FIXTURE["bert"] / f"bert_model.ckpt{ending}", tmp_path / "out")
    assert (tmp_path / "out" / "weights.safetensors").is_file()


def several(tmp_path: Path) -> Path:
    """A folder with two checkpoints; the word embedding of model.ckpt-20 is zero."""
    variables = bert_variables()
    words = "bert/embeddings/word_embeddings"
    folder = with_variables(tmp_path, {**variables, words: np.zeros_like(variables[words])})
    for path in folder.glob("bert_model.ckpt*"):
        path.rename(path.with_name(path.name.replace("bert_model.ckpt", "model.ckpt-20")))
    for path in FIXTURE["bert"].glob("bert_model.ckpt*"):
        shutil.copyfile(path, folder / path.name.replace("bert_model.ckpt", "model.ckpt-3"))
    return folder


@pytest.mark.parametrize("newest", ["model.ckpt-20", "/their/machine/model.ckpt-3"])
def test_the_newest_of_several_checkpoints(newest: str, tmp_path: Path) -> None:
    folder = several(tmp_path)
    text = f'model_checkpoint_path: "{newest}"\nall_model_checkpoint_paths: "model.ckpt-3"\n'
    (folder / "checkpoint").write_text(text)
    report = imported(folder, tmp_path / "out")
    name = newest.rpartition("/")[2]
    assert f"the folder has 2 checkpoints; {name} is the one" in report.notes[0]
    words = open_source(str(tmp_path / "out")).tensors()["word_embedding.weight"]
    assert bool(words.any()) == (name == "model.ckpt-3")


@pytest.mark.parametrize("state", [None, 'model_checkpoint_path: "model.ckpt-1"\n'])
def test_several_checkpoints_without_a_newest(state: str | None, tmp_path: Path) -> None:
    folder = several(tmp_path)
    if state:
        (folder / "checkpoint").write_text(state)
    message = error_of(folder, tmp_path)
    assert "has 2 checkpoints (model.ckpt-20, model.ckpt-3)" in message


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    extra = {"bert/encoder/layer_0/adapter/kernel": np.zeros((2, 2), np.float32)}
    message = error_of(with_variables(tmp_path, bert_variables() | extra), tmp_path)
    assert "the variable bert/encoder/layer_0/adapter/kernel is not one of Google's BERT" in message


def test_heads_of_fine_tuning_are_left_out_and_reported(tmp_path: Path) -> None:
    """A checkpoint of a classifier has no head for tokens and a pooler that nothing reads."""
    kept = {n: v for n, v in bert_variables().items() if not n.startswith("cls/")}
    head = {"output_weights": np.zeros((3, 16), np.float32), "output_bias": np.zeros(3, np.float32)}
    report = imported(with_variables(tmp_path, kept | head), tmp_path / "out")
    assert set(report.left_out) == {*head, "bert/pooler/dense/kernel", "bert/pooler/dense/bias"}
    recipe = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert recipe["objective"]["type"] == "mlm"


def test_a_missing_variable_is_refused(tmp_path: Path) -> None:
    variables = bert_variables()
    del variables["bert/encoder/layer_1/intermediate/dense/bias"]
    message = error_of(with_variables(tmp_path, variables), tmp_path)
    assert "bert.encoder.layer.1.intermediate.dense.bias" in message


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    variables = bert_variables()
    variables["bert/embeddings/LayerNorm/beta"][0] = np.nan
    assert "NaN or infinity" in error_of(with_variables(tmp_path, variables), tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    message = error_of(
        with_variables(tmp_path, {"dense/kernel": np.zeros(2, np.float32)}), tmp_path
    )
    assert "is not a checkpoint of Google's BERT or ALBERT" in message
    assert "(variables: dense/kernel)" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"num_hidden_layers": 1}, "bert.encoder.layer.1."),
        ({"num_hidden_layers": 3}, "bert.encoder.layer.2."),
        ({"vocab_size": 41}, "vocab_size = 41"),
        ({"hidden_size": 8}, "the hidden size 8 in bert_config.json"),
        ({"hidden_size": "wide"}, 'hidden_size = "wide" must be a positive whole number'),
        ({"num_attention_heads": 0}, "num_attention_heads = 0 must be"),
        ({"hidden_dropout_prob": "no"}, "wrong type"),
        ({"hidden_act": "swish"}, 'hidden_act "swish" is not supported'),
        ({"embedding_size": 8}, "the key embedding_size is not one of Google's BERT"),
        ({"ln_type": "preln"}, 'ln_type = "preln" is not supported. Supported: "postln"'),
        ({"intermediate_size": ...}, "the key intermediate_size is missing"),
    ],
)
def test_a_config_that_contradicts_the_weights_is_refused(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    message = error_of(edited(tmp_path, **changes), tmp_path)
    assert expected in message
    assert message.startswith(str(tmp_path))
    assert "/config.json" not in message
    assert " config.json" not in message


@pytest.mark.parametrize("name", ["bert_config.json", "vocab.txt"])
def test_missing_files_are_named(name: str, tmp_path: Path) -> None:
    folder = edited(tmp_path)
    (folder / name).unlink()
    assert error_of(folder, tmp_path).startswith(f"{folder / name}: does not exist. Pass ")


def test_a_folder_without_checkpoint(tmp_path: Path) -> None:
    assert "there is no file *.index" in error_of(tmp_path, tmp_path)


def test_capitals_in_the_vocabulary_mean_a_cased_model(tmp_path: Path) -> None:
    folder = edited(tmp_path)
    tokens = ["B" if token == "b" else token for token in TOKENS]
    (folder / "vocab.txt").write_text("\n".join(tokens))
    report = imported(folder, tmp_path / "cased")
    assert "tokenizer.lowercase=false, because vocab.txt has words with capitals" in report.notes
    recipe = yaml.safe_load((tmp_path / "cased" / "recipe.yaml").read_text())
    assert recipe["tokenizer"]["lowercase"] is False
    imported(folder, tmp_path / "given", options={"tokenizer": {"lowercase": True}})
    recipe = yaml.safe_load((tmp_path / "given" / "recipe.yaml").read_text())
    assert recipe["tokenizer"]["lowercase"] is True


def test_alberts_english_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    shutil.copytree(FIXTURE["albert"], folder)
    (folder / "vocab.txt").rename(folder / "30k-clean.model")
    assert "ALBERT's English tokenizer is not supported" in error_of(folder, tmp_path)
