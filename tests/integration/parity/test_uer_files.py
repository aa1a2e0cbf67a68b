"""Files of UER-py: config and vocabulary beside a checkpoint, errors, the commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.import_model import import_from_uer
from ptm.interop.sources.open import open_source
from ptm.interop.uer.export import export_to_uer
from ptm.text.tokenizers.sentencepiece import SentencePiece
from tests.support.sentencepieces import sentencepiece_model
from tests.support.uer_models import CONFIGS, write_checkpoint
from tests.support.uer_modules import State, random_state


def import_error(path: Path, tmp_path: Path, **options: Path) -> str:
    """The one-line error message of a failed import, which leaves no folder behind."""
    given: dict[str, Any] = {"config": None, "vocab": None, **options}
    with pytest.raises(UserError) as caught:
        import_from_uer(str(path), tmp_path / "out", **given)
    assert not list(tmp_path.glob("out*"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_config_and_vocabulary_may_be_in_other_folders(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = CONFIGS["mlm"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    moved = (tmp_path / "t" / "config.json").rename(tmp_path / "base_config.json")
    (tmp_path / "t" / "vocab.txt").unlink()
    text = import_error(path, tmp_path)
    assert "--config" in text
    assert "--vocab" in import_error(path, tmp_path, config=moved)
    import_from_uer(str(path), tmp_path / "in", config=moved, vocab=small_vocab)
    assert open_source(str(tmp_path / "in")).recipe().model.encoder.hidden_size == 24


class _Code:
    """An object that writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.path, "run"))


def test_a_checkpoint_with_code_is_rejected_and_its_code_not_run(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = CONFIGS["mlm"]
    state = {**random_state(config, words), "extra": _Code(tmp_path / "written")}
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    text = import_error(path, tmp_path)
    assert "run code" in text
    assert not (tmp_path / "written").exists()


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def another_target(state: State) -> State:
    """A causal language model's target.lm instead of target.mlm."""
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("target.")}
    return {**kept, "target.lm.output_layer.weight": torch.zeros(4, 24)}


def third_layer(state: State) -> State:
    more = {
        name.replace(".transformer.1.", ".transformer.2."): tensor
        for name, tensor in state.items()
        if ".transformer.1." in name
    }
    return {**state, **more}


def narrower(state: State) -> State:
    name = "encoder.transformer.0.feed_forward.linear_1.weight"
    return {**state, name: state[name][:-1].clone()}


def with_tensor(name: str, tensor: torch.Tensor) -> Callable[[State], State]:
    return lambda state: {**state, name: tensor}


QUERY = "encoder.transformer.0.self_attn.linear_layers.0.weight"
KEY = QUERY.replace("linear_layers.0", "linear_layers.1")
SEGMENT = "embedding.seg.embedding.weight"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (with_tensor(QUERY, torch.zeros(20, 24)), f"{QUERY} has the shape (20, 24)"),
        (with_tensor(KEY, torch.zeros(24, 20)), f"{KEY} has the shape (24, 20), but {QUERY} has"),
        (with_tensor(QUERY, torch.full((24, 24), torch.nan)), f"{QUERY} holds NaN or infinity"),
        (with_tensor(SEGMENT, torch.zeros(3)), f"{SEGMENT} has the shape (3,)"),
        (without("encoder.transformer.1.self_attn.linear_layers.2.bias"), "linear_layers.2.bias"),
        (
            without("encoder.transformer.0.layer_norm_1.gamma"),
            "'encoder.transformer.0.layer_norm_1.gamma' is missing",
        ),
        (without("embedding.word.embedding.weight"), "not a checkpoint of UER-py"),
        (another_target, "target.lm.output_layer.weight"),
        (third_layer, "encoder.transformer.2."),
        (narrower, "encoder_00.feed_forward.up.weight"),
        (lambda state: {"model": 3}, "not a checkpoint of UER-py"),
    ],
    ids=[
        "query",
        "key",
        "nan",
        "no-table",
        "part",
        "norm",
        "words",
        "target",
        "layers",
        "shape",
        "no-tensors",
    ],
)
def test_a_state_dict_that_does_not_fit_is_rejected_with_the_tensors_name(
    tmp_path: Path,
    small_vocab: Path,
    words: int,
    change: Callable[[State], dict[str, Any]],
    named: str,
) -> None:
    config = CONFIGS["mlm"]
    state = change(random_state(config, words))
    path = write_checkpoint(tmp_path / "t", config, state, small_vocab)
    assert named in import_error(path, tmp_path)


def test_a_tied_config_with_two_different_matrices_is_rejected(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = CONFIGS["mlm"]
    state = random_state({**config, "tie_weights": False}, words)
    path = write_checkpoint(tmp_path / "theirs", config, state, small_vocab)
    assert "tie_weights" in import_error(path, tmp_path)


def test_a_vocabulary_of_another_size_is_rejected(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = CONFIGS["mlm"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words + 2), small_vocab)
    text = import_error(path, tmp_path)
    assert f"({words} tokens)" in text
    assert f"({words + 2}, 24)" in text


def test_in_a_folder_with_two_checkpoints_one_must_be_named(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    config = CONFIGS["mlm"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    path.with_name("model.bin-200").write_bytes(path.read_bytes())
    assert "*.bin*: 2," in import_error(path.parent, tmp_path)


def test_a_cased_vocabulary_needs_the_lowercase_option(
    tmp_path: Path, small_vocab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """UER-py has the option on its command line, not in a file."""
    tokens = small_vocab.read_text(encoding="utf-8").splitlines()
    vocab = tmp_path / "cased.txt"
    vocab.write_text("\n".join([*tokens, "Word", "Another", "Third"]) + "\n", encoding="utf-8")
    config = CONFIGS["mlm"]
    state = random_state(config, len(tokens) + 3)
    path = str(write_checkpoint(tmp_path / "theirs", config, state, vocab))
    out = str(tmp_path / "in")
    assert main(["import", path, out, "--from", "uer"]) == EXIT_USER
    assert "tokenizer.lowercase" in capsys.readouterr().err
    arguments = ["import", path, out, "--from", "uer", "tokenizer.lowercase=false"]
    assert main(arguments) == EXIT_DONE
    assert not open_source(out).recipe().tokenizer.lowercase
    for wrong in ("model.dropout=0", "tokenizer.lowercase", "tokenizer.nonsense=1"):
        arguments = ["import", path, str(tmp_path / "no"), wrong, "--from", "uer"]
        assert main(arguments) == EXIT_USER
        assert wrong.split("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("ids", ["fairseq", "file"])
def test_the_ids_of_a_sentencepiece_model_are_chosen_by_the_word_embedding(
    tmp_path: Path, ids: str
) -> None:
    controls = () if ids == "fairseq" else ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
    model = sentencepiece_model(tmp_path / "trained.model", controls=controls)
    block = {"type": "sentencepiece", "model": str(model), "ids": ids}
    words = SentencePiece.model_validate(block).load().vocabulary.size
    config = CONFIGS["mlm"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), model)
    import_from_uer(str(path), tmp_path / "in", config=None, vocab=model)
    found = open_source(str(tmp_path / "in")).recipe().tokenizer
    assert found.type == "sentencepiece"
    assert found.ids == ids  # type: ignore[attr-defined]
    export_to_uer(open_source(str(tmp_path / "in")), tmp_path / "back")
    import_from_uer(str(tmp_path / "back"), tmp_path / "again", config=None, vocab=None)
    again = open_source(str(tmp_path / "again")).recipe().tokenizer
    assert again.load().fingerprint == found.load().fingerprint


def test_the_commands_name_missing_options_and_report_their_output(
    tmp_path: Path, small_vocab: Path, words: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CONFIGS["bert"]
    path = write_checkpoint(tmp_path / "t", config, random_state(config, words), small_vocab)
    source, out, back = str(path), str(tmp_path / "in"), str(tmp_path / "back")
    for wrong, named in (
        (["import", source, out], "--from"),
        (["import", source, "--from", "uer"], "OUT"),
        (["import", str(path.parent), out, "--from", "hf", "--vocab", "v"], "--vocab"),
        (
            ["import", source, out, "--from", "uer", "--config", str(small_vocab)],
            "is not valid JSON",
        ),
    ):
        assert main(wrong) == EXIT_USER
        assert named in capsys.readouterr().err
    assert main(["import", source, out, "--from", "uer"]) == EXIT_DONE
    assert "parameters from" in capsys.readouterr().out
    assert main(["export", out, back, "--to", "uer", "--format", "bin"]) == EXIT_USER
    assert main(["export", out, back, "--to", "uer"]) == EXIT_DONE
    assert "for UER-py" in capsys.readouterr().out
    assert {file.name for file in Path(back).iterdir()} == {
        "model.bin",
        "config.json",
        "vocab.txt",
        "recipe.yaml",
    }
