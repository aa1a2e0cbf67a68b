"""`decoder_start_token_id` of transformers is `objective.decoder_start`, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import processors
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BertTokenizer,
    PreTrainedTokenizerFast,
)

from ptm.errors import UserError
from ptm.inference.generate import GenerationConfig, Generator
from ptm.interop.hf.io.export import export_to_huggingface
from ptm.interop.import_config import recipe_blocks
from ptm.interop.import_model import import_from_huggingface
from ptm.interop.sources.open import open_source
from tests.integration.parity.cases.encoder_decoders import BART, PEGASUS, T5
from tests.integration.parity.cases.models import Family, Import, save

FAMILIES = {"bart": BART, "pegasus": PEGASUS, "t5": T5}
BOS, EOS, PAD = 2, 3, 0


def imported(
    name: str,
    start: int,
    folder: Path,
    vocab: Path,
    words: int,
    *,
    forced: int | None = None,
    in_file: str = "generation_config.json",
) -> tuple[Path, dict[str, Any]]:
    """A random model whose decoder starts with `start`, imported, and its `objective` block.

    `forced`: its forced_bos_token_id, in the file `in_file`.
    """
    family: Family = FAMILIES[name]
    torch.manual_seed(0)
    model = Import(family, config={"decoder_start_token_id": start}).model(words)
    if name == "bart":
        # A random model with tied weights repeats the token that it reads.
        model.final_logits_bias[0, start] = -10.0
    theirs = save(model, folder / "theirs", vocab=vocab, family=family)
    if in_file == "config.json":
        (theirs / "generation_config.json").unlink()
    path = theirs / in_file
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "forced_bos_token_id": forced}), encoding="utf-8")
    import_from_huggingface(str(folder / "theirs"), folder / "ours")
    recipe = yaml.safe_load((folder / "ours" / "recipe.yaml").read_text(encoding="utf-8"))
    return folder / "ours", recipe["objective"]


@pytest.mark.parametrize(
    ("name", "start", "forced", "expected"),
    [
        ("bart", BOS, None, {}),
        ("bart", EOS, BOS, {"decoder_start": "eos", "target_bos": True}),
        ("bart", EOS, None, {"decoder_start": "eos", "target_bos": True, "force_bos": False}),
        ("bart", PAD, None, {"decoder_start": "pad"}),
        ("pegasus", PAD, None, {"decoder_start": "pad"}),
        ("t5", PAD, None, {"decoder_start": "pad"}),
        ("t5", EOS, None, {"decoder_start": "eos"}),
    ],
)
@pytest.mark.parametrize("in_file", ["generation_config.json", "config.json"])
def test_the_start_is_imported_and_exported(
    name: str,
    start: int,
    forced: int | None,
    expected: dict[str, Any],
    in_file: str,
    tmp_path: Path,
    small_vocab: Path,
    words: int,
) -> None:
    ours, objective = imported(
        name, start, tmp_path, small_vocab, words, forced=forced, in_file=in_file
    )
    keys = ("decoder_start", "target_bos", "force_bos")
    found = {key: objective[key] for key in keys if key in objective}
    assert found == expected
    back = tmp_path / "back"
    export_to_huggingface(open_source(str(ours)), back, weights_format="safetensors")
    for file in ("config.json", "generation_config.json"):
        config = json.loads((back / file).read_text(encoding="utf-8"))
        assert config["decoder_start_token_id"] == start
        assert config.get("forced_bos_token_id") == forced
    again = open_source(str(back)).recipe().objective
    assert again == open_source(str(ours)).recipe().objective


def test_the_start_of_a_config_without_weights(tmp_path: Path) -> None:
    config = FAMILIES["bart"].config(100, {"decoder_start_token_id": EOS})
    config.save_pretrained(tmp_path)
    blocks = yaml.safe_load(recipe_blocks(tmp_path / "config.json"))
    assert blocks["objective"]["decoder_start"] == "eos"
    assert blocks["objective"]["target_bos"] is True
    assert blocks["objective"]["force_bos"] is False
    FAMILIES["bart"].config(
        100, {"decoder_start_token_id": EOS, "force_bos_token_to_be_generated": True}
    ).save_pretrained(tmp_path)
    assert "force_bos" not in yaml.safe_load(recipe_blocks(tmp_path / "config.json"))["objective"]


@pytest.mark.parametrize("forced", [BOS, None])
def test_generation_begins_as_in_transformers(
    tmp_path: Path, small_vocab: Path, words: int, forced: int | None
) -> None:
    ours, _ = imported("bart", EOS, tmp_path, small_vocab, words, forced=forced)
    export_to_huggingface(open_source(str(ours)), tmp_path / "back", weights_format="safetensors")
    generator = Generator(open_source(str(ours)))
    text = "天气好"
    ids = [BOS, *generator.tokenizer.encode([text])[0], EOS]
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "back").eval()
    found = model.generate(torch.tensor([ids]), do_sample=False, num_beams=1, max_new_tokens=12)[
        0
    ].tolist()
    assert found[0] == EOS
    assert (found[1] == BOS) == (forced == BOS)
    after = found[2:] if forced == BOS else found[1:]
    expected = after[: after.index(EOS)] if EOS in after else after
    # transformers counts the forced token as a new one.
    new = 11 if forced == BOS else 12
    written = generator.generate([text], GenerationConfig(max_new_tokens=new))
    assert written == [generator.tokenizer.decode(expected)]
    assert expected


@pytest.mark.parametrize("single", [["[CLS]", "$A", "[SEP]"], ["$A", "[SEP]"]], ids=str)
@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_source_begins_as_in_transformers(
    name: str, single: list[str], tmp_path: Path, small_vocab: Path, words: int
) -> None:
    family: Family = FAMILIES[name]
    model = Import(family, config={"decoder_start_token_id": PAD}).model(words)
    theirs = save(model, tmp_path / "theirs", vocab=small_vocab, family=family)
    pipeline = BertTokenizer(str(small_vocab)).backend_tokenizer
    pipeline.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[("[CLS]", BOS), ("[SEP]", EOS)]
    )
    named = {"pad_token": "[PAD]", "eos_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=pipeline, **named).save_pretrained(theirs)
    report = import_from_huggingface(str(theirs), tmp_path / "ours")
    assert not any("special tokens" in note for note in report.notes)
    source = open_source(str(tmp_path / "ours"))
    expected = AutoTokenizer.from_pretrained(theirs)("天气好")["input_ids"]
    assert (expected[0] == BOS) == ("[CLS]" in single)
    assert Generator(source).prompt("天气好").source == tuple(expected)
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    assert AutoTokenizer.from_pretrained(tmp_path / "back")("天气好")["input_ids"] == expected


def test_a_start_that_is_no_special_token_is_refused(
    tmp_path: Path, small_vocab: Path, words: int
) -> None:
    with pytest.raises(UserError) as caught:
        imported("bart", 7, tmp_path, small_vocab, words)
    assert str(caught.value) == (
        f"{tmp_path / 'theirs'}: config.json: decoder_start_token_id = 7 is not supported. "
        "Supported: the ids of the special tokens (bos 2, pad 0, eos 3)."
    )
