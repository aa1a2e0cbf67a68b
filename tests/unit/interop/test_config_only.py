"""A model config alone becomes the `model:` and `objective:` blocks of a valid recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import (
    BertConfig,
    DistilBertConfig,
    ErnieConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from tests.support.bert_pairs import TINY, blocks_of, recipe_of
from tests.support.uer_models import CONFIGS

TheirConfig = dict[str, Any]


def blocks_from(path: Path, config: TheirConfig, capsys: pytest.CaptureFixture[str]) -> Any:
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_DONE
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("config", "embedding", "encoder"),
    [
        (BertConfig(), {"positions": 512}, {"layers": 12, "hidden_size": 768}),
        (RobertaConfig(max_position_embeddings=514), {"position_offset": 2}, {"heads": 12}),
        (XLMRobertaConfig(max_position_embeddings=514), {"positions": 514}, {"layers": 12}),
        (DistilBertConfig(), {"parts": ["word", "position"]}, {"layers": 6}),
        (ErnieConfig(use_task_id=True), {"tasks": 3}, {"feed_forward_size": 3072}),
    ],
    ids=["bert", "roberta", "xlm_roberta", "distilbert", "ernie"],
)
def test_a_transformers_config_becomes_recipe_blocks(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    small_vocab: Path,
    config: PretrainedConfig,
    embedding: dict[str, Any],
    encoder: dict[str, Any],
) -> None:
    with_type = {"model_type": config.model_type, **config.to_dict()}
    blocks = blocks_from(tmp_path / "config.json", with_type, capsys)
    assert blocks["model"]["embedding"].items() >= embedding.items()
    assert blocks["model"]["encoder"].items() >= encoder.items()
    recipe = recipe_of({**blocks_of(small_vocab, TINY), **blocks})
    assert recipe.objective.type == "mlm"


@pytest.mark.parametrize("target", CONFIGS)
def test_a_uer_config_becomes_recipe_blocks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_vocab: Path, target: str
) -> None:
    blocks = blocks_from(tmp_path / "base_config.json", CONFIGS[target], capsys)
    data = {"corpus": "none", "layout": "sentences", "store": "", "sequence_length": 16}
    recipe = recipe_of({**blocks_of(small_vocab, TINY), **blocks, "data": data})
    assert recipe.model.encoder.hidden_size == 24
    assert recipe.objective.type == (target if target in ("bert", "albert") else "mlm")


def test_a_config_without_model_type_is_a_bert(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Like that of ernie-1.0."""
    config = BertConfig(num_hidden_layers=3).to_dict()
    del config["model_type"]
    blocks = blocks_from(tmp_path / "config.json", config, capsys)
    assert blocks["model"]["encoder"]["layers"] == 3


def test_blocks_are_written_only_to_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["mlm"]))
    arguments = ["import", str(tmp_path / "config.json"), str(tmp_path / "out.yaml")]
    assert main([*arguments, "--config-only"]) == EXIT_DONE
    written = (tmp_path / "out.yaml").read_text()
    assert yaml.safe_load(written)["model"]["encoder"]["layers"] == 2
    assert main([*arguments, "--config-only"]) == EXIT_USER
    assert (tmp_path / "out.yaml").read_text() == written


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read"),
        ("{", "is not valid JSON"),
        ("[]", "not a model config"),
        ('{"model_type": "gpt_neox"}', "gpt_neox"),
        ('{"model_type": "bert", "num_hidden_layers": 2}', "key 'max_position_embeddings' is"),
        (json.dumps({**CONFIGS["mlm"], "layers_num": 0}), "layers"),
        (json.dumps({**CONFIGS["mlm"], "mask": "causal"}), "causal"),
        (json.dumps({**CONFIGS["mlm"], "heads_num": "2"}), "heads"),
    ],
    ids=["missing", "damaged", "list", "family", "key", "invalid", "uer", "type"],
)
def test_a_config_that_describes_no_supported_model_is_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, named: str
) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    assert main(["import", str(path), "--config-only"]) == EXIT_USER
    text = capsys.readouterr().err
    assert named in text
    assert "config.json" in text
