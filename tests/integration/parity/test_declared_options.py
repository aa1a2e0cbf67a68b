"""Keys and tensors that a family does not declare, and model types that no family has, are errors.

Each of them can change the model that transformers builds, so nothing is left out without a word.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModel, PretrainedConfig

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.families import model_types
from ptm.interop.hf.io.folder import HuggingFaceFolder
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.model.build import encoder_plan
from ptm.model.plain_model import loaded_model
from tests.integration.parity.cases import PLAIN_EXPORTS, PLAIN_IMPORTS
from tests.integration.parity.cases.models import SavedModel
from tests.integration.parity.conftest import BuildExport, BuildSaved

SIZES = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 60,
}
OTHERS: dict[str, dict[str, Any]] = {
    "BigBird": {"attention_type": "original_full"},
    "Bros": {},
    "ConvBert": {"embedding_size": 32},
    "Deberta": {},
    "Electra": {"embedding_size": 32},
    "Esm": {"pad_token_id": 1, "mask_token_id": 4},
    "IBert": {},
    "LayoutLM": {},
    "Longformer": {"attention_window": 8},
    "MPNet": {},
    "MarkupLM": {"max_depth": 4},
    "MegatronBert": {},
    "MobileBert": {"embedding_size": 32},
    "NomicBert": {},
    "Nystromformer": {},
    "RemBert": {},
    "RobertaPreLayerNorm": {},
    "RoFormer": {"embedding_size": 32},
    "Splinter": {},
    "SqueezeBert": {"embedding_size": 32},
    "VisualBert": {},
    "XLMRobertaXL": {},
    "Xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "Yoso": {},
}
"""Encoders of transformers with BERT's or RoBERTa's tensor names, or nearly."""


@pytest.mark.parametrize("name", OTHERS)
def test_another_architecture_is_rejected_by_its_model_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: BuildSaved, name: str
) -> None:
    config_class = getattr(transformers, f"{name}Config", None)
    if config_class is None:
        pytest.skip(f"this version of transformers has no {name}")
    config = config_class(**{**SIZES, **OTHERS[name]})
    model = AutoModel.from_config(config)
    model.save_pretrained(tmp_path / "theirs")
    tokenizer = saved(PLAIN_IMPORTS[_bert()]).vocab
    shutil.copyfile(tokenizer, tmp_path / "theirs" / "vocab.txt")
    command = ["import", str(tmp_path / "theirs"), str(tmp_path / "out"), "--from", "hf"]
    assert main(command) == EXIT_USER
    assert f'model_type "{config.model_type}"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _bert() -> Any:
    return next(family for family in PLAIN_IMPORTS if family.name == "bert")


def _changed(theirs: SavedModel, out: Path, changes: dict[str, Any]) -> Path:
    shutil.copytree(theirs.folder, out)
    path = out / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return out


FAMILIES = list(PLAIN_IMPORTS.values())


@pytest.mark.parametrize("case", FAMILIES, ids=str)
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape_factor": 2}, "shape_factor = 2 is not a known option of model_type"),
        ({"tie_encoder_decoder": True}, "tie_encoder_decoder = true is not supported"),
        ({"auto_map": {"AutoModel": "modeling.Mine"}}, "auto_map names Python code"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads = "),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"model_type": "nezha"}, 'model_type "nezha"'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_with_an_undeclared_option_is_rejected(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    saved: BuildSaved,
    case: Any,
    changes: dict[str, Any],
    sentence: str,
) -> None:
    folder = _changed(saved(case), tmp_path / "theirs", changes)
    assert main(["import", str(folder), str(tmp_path / "out"), "--from", "hf"]) == EXIT_USER
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


PARTS = {
    "bert": "cls.predictions.transform.LayerNorm.weight",
    "roberta": "lm_head.layer_norm.bias",
    "modernbert": "head.norm.weight",
}
"""A tensor of the head of a family."""
HARMLESS = {
    "gradient_checkpointing": False,
    "classifier_dropout": 0.3,
    "id2label": {"0": "no", "1": "yes"},
    "problem_type": "single_label_classification",
    "num_beams": 4,
    "transformers_version": "4.9.0",
    "torch_dtype": "float16",
    "_name_or_path": "somewhere",
    "an_option_that_is_not_set": None,
    "use_sliding_window": False,
    "loss_type": "ForMaskedLMLoss",
    "label_smoothing": 0.1,
    "save_step": 1000,
    "model_name": "a name",
    "sequence_classif_dropout": 0.2,
}


@pytest.mark.parametrize("case", FAMILIES, ids=str)
def test_keys_of_programs_and_of_fine_tuning_change_nothing(
    tmp_path: Path, saved: BuildSaved, case: Any
) -> None:
    theirs = saved(case)
    folder = _changed(theirs, tmp_path / "theirs", HARMLESS)
    same, other = HuggingFaceFolder(theirs.folder), HuggingFaceFolder(folder)
    assert other.recipe_data()["model"] == same.recipe_data()["model"]


@pytest.mark.parametrize("case", FAMILIES, ids=str)
@pytest.mark.parametrize(
    "changes",
    [{"is_decoder": True}, {"is_encoder_decoder": True}, {"is_encoder_decoder": False}],
    ids=str,
)
def test_a_key_of_decoders_is_rejected_where_transformers_reads_it(
    tmp_path: Path, saved: BuildSaved, case: Any, changes: dict[str, Any]
) -> None:
    theirs = saved(case)
    folder = _changed(theirs, tmp_path / "theirs", changes)
    model = case.family.hf_class.from_pretrained(folder).eval()
    if torch.equal(theirs.inputs.hf_logits(model), theirs.expected):
        same = HuggingFaceFolder(theirs.folder).recipe_data()["model"]
        assert HuggingFaceFolder(folder).recipe_data()["model"] == same
    else:
        with pytest.raises(UserError, match=f"{next(iter(changes))} = "):
            HuggingFaceFolder(folder).recipe_data()


@pytest.mark.parametrize("case", FAMILIES, ids=str)
def test_every_key_of_a_whole_config_of_transformers_is_declared(
    tmp_path: Path, saved: BuildSaved, case: Any
) -> None:
    theirs = saved(case)
    whole = type(theirs.theirs.config).from_pretrained(theirs.folder).to_dict()
    folder = _changed(theirs, tmp_path / "theirs", whole)
    expected = HuggingFaceFolder(theirs.folder).recipe_data()["model"]
    assert HuggingFaceFolder(folder).recipe_data()["model"] == expected


@pytest.mark.parametrize("case", FAMILIES, ids=str)
def test_a_tensor_that_the_model_does_not_have_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: BuildSaved, case: Any
) -> None:
    theirs = saved(case)
    weights = load_file(theirs.folder / "model.safetensors")
    layer = next(n for n in weights if n.endswith(".weight") and ".0." in n)
    extra = {
        # A bias or scale in a layer, a layer far beyond the last, an adapter, a quantized matrix.
        layer.replace(".weight", ".extra_scale"): torch.ones(2),
        layer.replace(".0.", ".7.", 1): torch.ones(2),
        f"adapter.{layer}": torch.ones(2),
        "qint.weight": torch.ones(2, dtype=torch.int8),
    }
    for number, (name, tensor) in enumerate(extra.items()):
        folder = _changed(theirs, tmp_path / f"theirs{number}", {})
        save_file({**weights, name: tensor}, folder / "model.safetensors")
        assert main(["import", str(folder), str(tmp_path / "out"), "--from", "hf"]) == EXIT_USER
        assert name in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", [case for case in FAMILIES if str(case) in PARTS], ids=str)
def test_a_part_of_a_head_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: BuildSaved, case: Any
) -> None:
    folder = _changed(saved(case), tmp_path / "theirs", {})
    weights = load_file(folder / "model.safetensors")
    del weights[PARTS[str(case)]]
    save_file(weights, folder / "model.safetensors")
    assert main(["import", str(folder), str(tmp_path / "out"), "--from", "hf"]) == EXIT_USER
    assert "no tensor corresponds to the parameter mlm_" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "changes", "option"),
    [
        ("bert", {"layer_norm_eps": 0.5}, "model.encoder.norm_epsilon = 1e-12, not 0.5"),
        ("modernbert", {"local_attention": 16}, "model.encoder.window = 8, not 16"),
        ("bart", {"scale_embedding": True}, "model.embedding.scaled = false, not true"),
    ],
)
def test_an_export_whose_config_was_changed_disagrees_with_its_recipe(
    tmp_path: Path, exported: BuildExport, name: str, changes: dict[str, Any], option: str
) -> None:
    case = next(case for family, case in PLAIN_EXPORTS.items() if family.name == name)
    folder = exported(case).folder
    assert open_source(str(folder)).recipe()
    shutil.copytree(folder, tmp_path / "changed")
    path = tmp_path / "changed" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(UserError, match=re.escape(f"disagree on {option}")):
        open_source(str(tmp_path / "changed")).recipe()


def test_an_initial_deviation_of_zero_does_not_matter_for_a_checkpoint(
    tmp_path: Path, saved: BuildSaved
) -> None:
    folder = _changed(saved(FAMILIES[0]), tmp_path / "theirs", {"initializer_range": 0.0})
    assert open_source(str(folder)).recipe().model.init.std > 0


def test_a_tensor_that_is_there_twice_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: BuildSaved
) -> None:
    folder = _changed(saved(PLAIN_IMPORTS[_bert()]), tmp_path / "theirs", {})
    weights = load_file(folder / "model.safetensors")
    norm = "bert.encoder.layer.0.attention.output.LayerNorm"
    save_file({**weights, f"{norm}.gamma": torch.ones(128)}, folder / "model.safetensors")
    assert main(["import", str(folder), str(tmp_path / "out"), "--from", "hf"]) == EXIT_USER
    assert f"the weights have {norm}.weight twice" in capsys.readouterr().err


def test_a_model_without_a_model_type_is_imported_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], saved: BuildSaved
) -> None:
    folder = _changed(saved(PLAIN_IMPORTS[_bert()]), tmp_path / "theirs", {"model_type": None})
    assert main(["import", str(folder), str(tmp_path / "out"), "--from", "hf"]) == EXIT_DONE
    assert "no model_type; the tensors are those of bert" in capsys.readouterr().out


TASKS = {
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING": "classification",
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING": "tagging",
    "MODEL_FOR_QUESTION_ANSWERING_MAPPING": "extraction",
    "MODEL_FOR_MULTIPLE_CHOICE_MAPPING": "choice",
    "MODEL_FOR_NEXT_SENTENCE_PREDICTION_MAPPING": None,
}
"""Tasks of transformers, and the objective that has the head."""


@pytest.mark.parametrize("case", FAMILIES, ids=str)
def test_heads_of_every_task_of_transformers_are_imported_or_left_out_by_name(
    tmp_path: Path, saved: BuildSaved, case: Any
) -> None:
    theirs = saved(case)
    config: PretrainedConfig = theirs.theirs.config
    for task, objective in TASKS.items():
        mapping = getattr(transformers, task)
        if type(config) not in mapping or theirs.theirs.config.model_type in ("t5", "mt5"):
            continue
        model = mapping[type(config)](config)
        if model.base_model_prefix != theirs.theirs.base_model_prefix:
            continue
        folder = _changed(theirs, tmp_path / task, {})
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder)
        report = import_from_huggingface(str(folder), tmp_path / f"out-{task}")
        heads = [n for n in model.state_dict() if not n.startswith(f"{model.base_model_prefix}.")]
        # The pair head of next-sentence prediction is imported.
        known = ("lm_head.", "final_logits_bias", "cls.")
        expected = {name for name in heads if not name.startswith(known)}
        # Questions and contexts need [CLS] and [SEP], which decoders do not have.
        without = objective == "extraction" and config.model_type in ("gpt2", "llama", "bart")
        without |= objective == "choice" and config.model_type == "modernbert"
        if objective is not None and not without:
            assert open_source(str(tmp_path / f"out-{task}")).recipe().objective.type == objective
            expected = set()
        assert expected <= set(report.left_out), task


LIKE_ROBERTA = ("Camembert", "Data2VecText", "Roberta", "XLMRoberta")


@pytest.mark.parametrize("bare", [True, False], ids=["bare", "with head"])
@pytest.mark.parametrize("name", LIKE_ROBERTA)
@pytest.mark.parametrize("pad", [0, 1, 5])
def test_positions_of_every_roberta_start_after_the_padding_id(
    tmp_path: Path, saved: BuildSaved, name: str, bare: bool, pad: int
) -> None:
    """CamemBERT and data2vec have RoBERTa's positions, with and without their head."""
    kind = getattr(transformers, f"{name}{'Model' if bare else 'ForMaskedLM'}")
    config = getattr(transformers, f"{name}Config")(**SIZES, pad_token_id=pad)
    tokens = [f"word{index}" for index in range(120)]
    for index, token in enumerate(["[CLS]", "[SEP]", "[MASK]", "[UNK]"]):
        tokens[10 + index] = token
    tokens[pad] = "[PAD]"
    torch.manual_seed(pad)
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape))
    model.save_pretrained(tmp_path / "theirs")
    text = "\n".join(tokens) + "\n"
    (tmp_path / "theirs" / "vocab.txt").write_text(text)
    import_from_huggingface(str(tmp_path / "theirs"), tmp_path / "out")
    ids = torch.arange(20, 50)[None]
    with torch.no_grad():
        expected = (model if bare else model.base_model)(ids).last_hidden_state
    ours = hidden_states(tmp_path / "out", ids)
    assert float((ours - expected).abs().max() / expected.abs().max()) < 5e-6


def hidden_states(folder: Path, ids: torch.Tensor) -> torch.Tensor:
    """(B, T, D): the states after the last layer of an import."""
    source = open_source(str(folder))
    recipe = source.recipe()
    size = recipe.tokenizer.load().vocabulary.size
    plan = encoder_plan(recipe.model, vocabulary_size=size)
    names = plan.parameter_shapes
    weights = {name: t for name, t in source.tensors().items() if name in names}
    model = loaded_model(plan, weights, source="import")
    ones = torch.ones_like(ids)
    with torch.no_grad():
        found = model(
            {
                "input_ids": ids,
                "position_ids": torch.arange(ids.shape[1])[None],
                "segment_ids": ones,
                "example_ids": ones,
            }
        )
    return found["hidden"]


def test_the_message_lists_every_supported_model_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "unknown"}))
    assert main(["import", str(path), "--config-only"]) == EXIT_USER
    message = capsys.readouterr().err
    assert all(name in message for name in model_types())


def test_a_config_without_weights_has_no_undeclared_option_either(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.json"
    config = transformers.BertConfig(**SIZES).to_dict()
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_DONE
    capsys.readouterr()
    path.write_text(json.dumps({**config, "alibi": True}))
    assert main(["import", str(path), "--config-only"]) == EXIT_USER
    assert "alibi = true is not a known option" in capsys.readouterr().err
