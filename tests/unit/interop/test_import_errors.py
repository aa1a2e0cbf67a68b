"""An import that is not possible raises a one-sentence UserError that names the cause."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaModel,
)

from ptm.errors import UserError
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from ptm.text.vocabulary import read_vocabulary


@pytest.fixture
def config(small_vocab: Path) -> BertConfig:
    return BertConfig(
        vocab_size=len(read_vocabulary(str(small_vocab))),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )


@pytest.fixture
def folder(tmp_path: Path, config: BertConfig, small_vocab: Path) -> Path:
    """A folder that can be imported, for a test to damage."""
    folder = tmp_path / "theirs"
    BertForMaskedLM(config).save_pretrained(folder)
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    return folder


def import_error(folder: Path, tmp_path: Path) -> str:
    """Return the error message of a failing import, which must leave no files behind."""
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out*"))
    text = str(caught.value)
    assert "\n" not in text.strip()
    assert text.endswith(".")
    return text


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.update(changes)
    kept = {key: value for key, value in config.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)


def test_the_undamaged_folder_can_be_imported(folder: Path, tmp_path: Path) -> None:
    counted = import_from_huggingface(str(folder), tmp_path / "out")
    theirs = BertForMaskedLM.from_pretrained(folder)
    # One more row: the segment of padding.
    assert counted.parameters == sum(p.numel() for p in theirs.parameters()) + 32


class _Code:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "run"))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "plain-pickle"])
def test_a_pickle_with_code_is_rejected_and_not_run(
    folder: Path, tmp_path: Path, zipped: bool
) -> None:
    written = tmp_path / "written"
    payload = {"bert.embeddings.word_embeddings.weight": _Code(written)}
    (folder / "model.safetensors").unlink()
    if zipped:
        torch.save(payload, folder / "pytorch_model.bin")
    else:
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(payload, protocol=2))
    text = import_error(folder, tmp_path)
    assert "pytorch_model.bin" in text
    assert "code" in text
    assert not written.exists()


GARBAGE = {
    "empty": b"",
    "text": b"not weights at all",
    "git-lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\n",
    "half-a-zip": b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_file_without_weights_is_rejected(
    folder: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    text = import_error(folder, tmp_path)
    assert name in text
    assert "code" not in text, "the file contains no code"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_truncated_file_is_rejected(folder: Path, tmp_path: Path, name: str) -> None:
    whole = load_file(folder / "model.safetensors")
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        torch.save(whole, folder / name)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    assert name in import_error(folder, tmp_path)


def test_a_bin_file_that_is_not_a_dictionary_is_rejected(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save([torch.zeros(3)], folder / "pytorch_model.bin")
    assert "dictionary" in import_error(folder, tmp_path)


def test_a_folder_without_weights_is_rejected(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    text = import_error(folder, tmp_path)
    assert "model.safetensors" in text
    assert "pytorch_model.bin" in text


def test_a_folder_without_a_vocabulary_is_rejected(folder: Path, tmp_path: Path) -> None:
    (folder / "vocab.txt").unlink()
    assert "vocab" in import_error(folder, tmp_path)


@pytest.mark.parametrize("content", [None, "{", "[1, 2]"], ids=["missing", "damaged", "a-list"])
def test_a_folder_without_a_config_is_rejected(
    folder: Path, tmp_path: Path, content: str | None
) -> None:
    if content is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(content)
    assert "config.json" in import_error(folder, tmp_path)


def test_a_missing_folder_is_rejected(tmp_path: Path) -> None:
    assert "bert-base-chinese" in import_error(Path("bert-base-chinese"), tmp_path)


def test_an_existing_folder_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists"):
        import_from_huggingface(str(folder), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_an_unsupported_family_is_rejected_by_its_name(
    tmp_path: Path, small_vocab: Path, config: BertConfig
) -> None:
    folder = tmp_path / "theirs"
    other = GPTNeoXConfig(
        vocab_size=config.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPTNeoXForCausalLM(other).save_pretrained(folder)
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    text = import_error(folder, tmp_path)
    assert "gpt_neox" in text
    assert "bert" in text


def test_tensors_that_match_no_family_are_rejected_with_the_missing_tensor(
    folder: Path, tmp_path: Path
) -> None:
    name = "bert.encoder.layer.0.attention.output.LayerNorm.weight"
    edit_weights(folder, lambda weights: {k: v for k, v in weights.items() if k != name})
    text = import_error(folder, tmp_path)
    assert f'config.json has model_type "bert", but the weights lack {name}' in text
    assert "supported: " not in text


@pytest.mark.parametrize("bare", [False, True], ids=["with-head", "bare"])
def test_a_roberta_is_not_taken_for_a_bert(
    tmp_path: Path, small_vocab: Path, config: BertConfig, bare: bool
) -> None:
    """Its positions start at 2, so that reading it as a BERT would shift all of them."""
    sizes = {
        key: getattr(config, key)
        for key in (
            "vocab_size",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
        )
    }
    folder = tmp_path / "theirs"
    build = RobertaModel if bare else RobertaForMaskedLM
    build(RobertaConfig(**sizes)).save_pretrained(folder)
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    assert "roberta" in import_error(folder, tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"hidden_act": "gelu_10"}, "gelu_10"),
        ({"position_embedding_type": "relative_key"}, "position"),
        ({"is_decoder": True}, "decoder"),
        ({"num_hidden_layers": ...}, "num_hidden_layers"),
        ({"max_position_embeddings": ...}, "max_position_embeddings"),
        ({"num_hidden_layers": 3}, "bert.encoder.layer.2.attention.self.query.weight"),
    ],
    ids=["activation", "positions", "decoder", "no-layers", "no-positions", "too-few-layers"],
)
def test_a_config_that_is_not_supported_or_does_not_fit_is_rejected(
    folder: Path, tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    edit_config(folder, **changes)
    assert named in import_error(folder, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden_layers": 1},
        {"hidden_size": 64},
        {"intermediate_size": 128},
        {"max_position_embeddings": 128},
    ],
    ids=["fewer-layers", "width", "feed-forward", "positions"],
)
def test_a_config_with_other_sizes_than_the_weights_is_rejected(
    folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    edit_config(folder, **changes)
    import_error(folder, tmp_path)


def test_a_vocabulary_of_another_size_than_the_weights_is_rejected(
    folder: Path, tmp_path: Path
) -> None:
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    (folder / "vocab.txt").write_text("\n".join(lines[:-3]) + "\n", encoding="utf-8")
    assert "vocab" in import_error(folder, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.position_embeddings.weight",
        "bert.encoder.layer.1.attention.self.key.bias",
        "bert.encoder.layer.1.output.LayerNorm.weight",
        "bert.encoder.layer.0.intermediate.dense.weight",
    ],
)
def test_a_missing_tensor_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    edit_weights(folder, lambda weights: {k: v for k, v in weights.items() if k != name})
    assert name in import_error(folder, tmp_path)


def test_a_missing_norm_of_the_embedding_is_named(folder: Path, tmp_path: Path) -> None:
    """It is not part of the head, which may be missing: every BERT has it."""
    name = "bert.embeddings.LayerNorm.weight"
    edit_weights(folder, lambda weights: {k: v for k, v in weights.items() if k != name})
    assert name in import_error(folder, tmp_path)


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "{}",
        "[]",
        '{"weight_map": {"bert.embeddings.LayerNorm.bias": "not-there.safetensors"}}',
    ],
    ids=["damaged", "empty", "a-list", "missing-shard"],
)
def test_a_damaged_index_of_shards_is_rejected(folder: Path, tmp_path: Path, index: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    import_error(folder, tmp_path)


@pytest.mark.parametrize("kind", ["weight", "bias"])
def test_a_query_of_another_shape_is_named_with_the_required_shape(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    name = f"bert.encoder.layer.0.attention.self.query.{kind}"
    edit_weights(folder, lambda weights: {**weights, name: weights[name][:24].clone()})
    text = import_error(folder, tmp_path)
    assert str(folder) in text
    assert f"{name} has the shape {(24, 32) if kind == 'weight' else (24,)}" in text
    assert f"requires {(32, 32) if kind == 'weight' else (32,)}" in text


@pytest.mark.parametrize(
    "name",
    [
        "bert.embeddings.token_type_embeddings.weight",
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.position_embeddings.weight",
    ],
)
def test_an_embedding_table_of_one_dimension_is_rejected(
    folder: Path, tmp_path: Path, name: str
) -> None:
    edit_weights(folder, lambda weights: {**weights, name: torch.zeros(3)})
    assert "(3,)" in import_error(folder, tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_are_rejected_with_the_name_of_the_first_tensor(
    folder: Path, tmp_path: Path, value: float
) -> None:
    names = [f"bert.encoder.layer.{index}.intermediate.dense.bias" for index in (1, 0)]

    def spoilt(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        for name in names:
            weights[name][5] = value
        return weights

    edit_weights(folder, spoilt)
    text = import_error(folder, tmp_path)
    assert f"{names[1]} holds NaN or infinity (1 of 64 values)" in text


@pytest.mark.parametrize("up", ["../../{}", "../{}", "{here}/{}"], ids=["two-up", "up", "absolute"])
def test_an_index_that_leads_out_of_the_folder_is_rejected(
    folder: Path, tmp_path: Path, up: str
) -> None:
    shard = tmp_path / "elsewhere.safetensors"
    (folder / "model.safetensors").rename(shard)
    name = up.format(shard.name, here=tmp_path)
    index = {"weight_map": {"bert.embeddings.LayerNorm.bias": name}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert f'weight_map names "{name}"' in import_error(folder, tmp_path)


def test_a_folder_whose_shards_are_links_is_imported(folder: Path, tmp_path: Path) -> None:
    """As in the Hub's cache."""
    (folder / "model.safetensors").rename(tmp_path / "blob")
    (folder / "shard.safetensors").symlink_to("../blob")
    index = {"weight_map": {"bert.embeddings.LayerNorm.bias": "shard.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    import_from_huggingface(str(folder), tmp_path / "out")


def test_a_config_error_names_the_folder(folder: Path, tmp_path: Path) -> None:
    edit_config(folder, position_embedding_type="relative_key")
    assert import_error(folder, tmp_path).startswith(
        f"{folder}: config.json: position_embedding_type"
    )


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_bare_encoder_is_imported_without_a_head(
    tmp_path: Path, config: BertConfig, small_vocab: Path, tied: bool
) -> None:
    config.tie_word_embeddings = tied
    folder = tmp_path / "theirs"
    BertModel(config).save_pretrained(folder)
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    names = load_file(folder / "model.safetensors")
    assert "embeddings.word_embeddings.weight" in names, "without the prefix bert."
    import_from_huggingface(str(folder), tmp_path / "out")
    tensors = open_source(str(tmp_path / "out")).tensors()
    assert "encoder_01.feed_forward.down.weight" in tensors
    assert not any(name.startswith("mlm") for name in tensors)
    assert torch.equal(tensors["word_embedding.weight"], names["embeddings.word_embeddings.weight"])


def test_an_import_needs_no_network_and_no_transformers(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from ptm.interop.import_model import import_from_huggingface as i;"
        f"i({str(folder)!r}, Path({str(tmp_path / 'out')!r}));"
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_zip_file_that_is_not_a_checkpoint_is_rejected(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    (folder / "pytorch_model.bin").write_bytes(buffer.getvalue())
    assert "pytorch_model.bin" in import_error(folder, tmp_path)
