"""Published sizes, and models equal to those that `ptm import` builds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ptm.errors import UserError
from ptm.interop.import_config import recipe_blocks
from ptm.recipe import recipe_from_data
from ptm.recipe.model_block import ModelBlock
from ptm.translate.translate import translate
from ptm.translate.uer_models import published_config

_SIZES = {
    "bert/tiny": (2, 128, 2, 512),
    "bert/mini": (4, 256, 4, 1024),
    "bert/small": (4, 512, 8, 2048),
    "bert/medium": (8, 512, 8, 2048),
    "bert/base": (12, 768, 12, 3072),
    "bert/large": (24, 1024, 16, 4096),
    "bert/xlarge": (36, 1536, 24, 6144),
    "bert_tiny": (3, 384, 6, 1536),
    "bert_small": (6, 512, 8, 2048),
    "bert_base": (12, 768, 12, 3072),
    "bert_large": (24, 1024, 16, 4096),
    "bert_xlarge": (36, 1024, 16, 4096),
    "megatron/bert_3.9B": (48, 2560, 40, 10240),
    "megatron/gpt2_8.3B": (72, 3072, 24, 12288),
    "albert/xlarge": (24, 2048, 16, 8192),
    "albert_base": (12, 768, 12, 3072),
    "gpt2/distil": (6, 768, 12, 3072),
    "gpt2/medium": (24, 1024, 16, 4096),
    "gpt2/large": (36, 1280, 20, 5120),
    "gpt2/xlarge": (48, 1600, 25, 6400),
    "xlm-roberta/large": (24, 1024, 16, 4096),
    "bart/large": (12, 1024, 16, 4096),
    "pegasus/large": (16, 1024, 16, 4096),
    "t5/3b": (24, 1024, 32, 16384),
    "t5/11b": (24, 1024, 128, 65536),
    "t5-v1_1/large": (24, 1024, 16, 2816),
    "t5-v1_1/xxlarge": (24, 4096, 64, 10240),
    "transformer/base": (6, 512, 8, 2048),
    "transformer/big": (6, 1024, 16, 4096),
    "llama/7b": (32, 4096, 32, 11008),
}
_IMPORTABLE = (
    *("bert/tiny", "bert/base", "albert/base", "gpt2/config", "gpt2/medium", "t5/small", "t5/3b"),
    *("t5-v1_1/small", "t5-v1_1/xlarge", "bart/base", "pegasus/base", "megatron/gpt2_8.3B"),
    *("transformer/base", "llama/7b"),
)


def _path(name: str) -> str:
    return f"models/{name}.json" if name.endswith("config") else f"models/{name}_config.json"


@pytest.mark.parametrize(("name", "sizes"), _SIZES.items())
def test_sizes_of_published_models(name: str, sizes: tuple[int, ...]) -> None:
    config = published_config(_path(name))
    assert config is not None
    keys = ("layers_num", "hidden_size", "heads_num", "feedforward_size")
    assert tuple(config[key] for key in keys) == sizes


@pytest.mark.parametrize("name", ["rnn", "rnn/lstm", "birnn", "rnn/bilstm", "gatedcnn_13"])
def test_sizes_of_recurrent_and_convolutional_models(name: str) -> None:
    config = published_config(_path(name))
    assert config is not None
    sizes = tuple(config[key] for key in ("layers_num", "emb_size", "hidden_size"))
    convolutional, both = name.startswith("gated"), "bi" in name
    assert sizes == ((13, 128, 1268) if convolutional else (2, 512, 1536 if both else 512))


@pytest.mark.parametrize(
    "path", ["./models/bert/base_config.json", "/home/x/UER-py/models/bert/base_config.json"]
)
def test_a_path_counts_from_models_on(path: str) -> None:
    assert published_config(path) == published_config("models/bert/base_config.json")


@pytest.mark.parametrize(
    "path", ["bert/base_config.json", "models/bert/huge_config.json", "x.json"]
)
def test_other_paths_are_not_published(path: str) -> None:
    assert published_config(path) is None


@pytest.mark.parametrize("name", ["vit/base-16-224", "s2t/small", "sbert/base", "dall-e/base"])
def test_models_out_of_scope_are_errors(name: str) -> None:
    with pytest.raises(UserError, match=r"out of scope|not implemented"):
        published_config(_path(name))


@pytest.mark.parametrize("name", _IMPORTABLE)
def test_the_model_is_the_one_that_an_import_builds(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = _path(name)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(published_config(path)))
    imported = yaml.safe_load(recipe_blocks(config))
    line = f"pretrain.py --config_path {path} --vocab_path v.txt --output_model_path o.bin"
    translated = translate(f"python3 {line}", recipe_path="r.yaml").recipes[0].draft.data
    blocks = [
        recipe_from_data(data["model"], ModelBlock, name="model") for data in (imported, translated)
    ]
    assert blocks[0] == blocks[1]
    assert imported["objective"]["type"] == translated["objective"]["type"]
    assert (
        imported["objective"]["head"] == {"bias": False, **translated["objective"]["head"]}
        or imported["objective"]["head"] == translated["objective"]["head"]
    )


def test_a_file_takes_precedence_over_the_published_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models/bert/tiny_config.json"
    path.parent.mkdir(parents=True)
    config = published_config("models/bert/tiny_config.json")
    assert config is not None
    path.write_text(json.dumps({**config, "layers_num": 7}))
    line = "python3 pretrain.py --config_path models/bert/tiny_config.json --vocab_path v.txt"
    draft = translate(line, recipe_path="r.yaml").recipes[0].draft
    assert draft.data["model"]["encoder"]["layers"] == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "the file is not valid JSON"),
        ("[]", "is a JSON object"),
        ('{"layers_num": 2}', 'the key "hidden_size" is missing'),
        ('{"layers_num": "two"}', 'layers_num = "two" is not a positive integer'),
        ('{"layers_num": 0}', "layers_num = 0 is not a positive integer"),
        ('{"tie_weights": "yes"}', 'tie_weights = "yes" is not true or false'),
        ('{"target": {"a": 1}}', "is not a list of texts"),
        ('{"dropout": "low"}', 'dropout = "low" is not a number'),
        ('{"stream_0": {}}', "siamese"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_an_error(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    line = f"python3 pretrain.py --config_path {path} --vocab_path v.txt"
    with pytest.raises(UserError) as caught:
        translate(line, recipe_path="r.yaml")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_an_absent_configuration_is_an_error() -> None:
    line = "python3 pretrain.py --config_path models/mine_config.json --vocab_path v.txt"
    with pytest.raises(UserError, match=r"models/mine_config.json: does not exist"):
        translate(line, recipe_path="r.yaml")
