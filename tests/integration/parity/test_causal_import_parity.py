"""transformers' GPT, GPT-2 and LLaMA have here the logits that they have there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
    PretrainedConfig,
)

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER, UserError
from ptm.interop.hf.export import export_to_huggingface
from ptm.interop.hf.folder import HuggingFaceFolder
from ptm.interop.importing import import_from_huggingface
from ptm.interop.source import open_source
from ptm.text.tokenizers.wordpiece import WordPiece
from tests.support.bert_pairs import (
    TOLERANCE,
    difference,
    examples_of,
    hf_logits_alone,
    packed,
    ptm_logits,
)
from tests.support.causal_pairs import random_causal
from tests.support.other_pairs import imported

Changes = dict[str, Any]
_GPT = {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 128}
_LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
NORMS = {"gpt2": "transformer.ln_f", "openai_gpt": "transformer.h.2.ln_2", "llama": "model.norm"}


def config_of(family: str, words: int, changes: Changes) -> PretrainedConfig:
    """Tokens' ids are those of a WordPiece vocabulary."""
    ids = {"vocab_size": words, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    if family == "gpt2":
        return GPT2Config(**{**ids, **_GPT, **changes})
    if family == "openai_gpt":
        return OpenAIGPTConfig(**{**ids, **_GPT, **changes})
    return LlamaConfig(**{**ids, **_LLAMA, **changes})


MODELS: dict[str, Callable[[Any], nn.Module]] = {
    "gpt2": GPT2LMHeadModel,
    "openai_gpt": OpenAIGPTLMHeadModel,
    "llama": LlamaForCausalLM,
}


def theirs_of(
    family: str, vocab: Path, texts: list[str], **changes: Any
) -> tuple[Any, list[Tensor]]:
    tokenizer = WordPiece(type="wordpiece", vocab=str(vocab)).load()
    examples = examples_of(tokenizer, texts, longest=48)
    config = config_of(family, tokenizer.vocabulary.size, changes)
    model = random_causal(MODELS[family](config), examples, last_norm=NORMS[family])
    return model, examples


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("gpt2", {}),
        ("gpt2", {"tie_word_embeddings": False}),
        ("gpt2", {"activation_function": "relu", "layer_norm_epsilon": 1e-3, "n_inner": 80}),
        ("gpt2", {"activation_function": "gelu", "scale_attn_weights": False}),
        ("openai_gpt", {}),
        ("openai_gpt", {"afn": "relu", "layer_norm_epsilon": 1e-3, "tie_word_embeddings": False}),
        ("llama", {}),
        ("llama", {"num_key_value_heads": 2, "tie_word_embeddings": True, "rms_norm_eps": 1e-3}),
        ("llama", {"num_key_value_heads": 1, "head_dim": 32, "hidden_act": "gelu"}),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 300.0}}),
        ("llama", {"attention_bias": True, "mlp_bias": True}),
    ],
    ids=str,
)
def test_an_import_has_the_same_logits(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str], family: str, changes: Changes
) -> None:
    theirs, examples = theirs_of(family, small_vocab, bundled_texts, **changes)
    ours, recipe = imported(theirs, small_vocab, tmp_path)
    logits = ptm_logits(ours, packed(examples, columns=128))
    assert difference(logits, hf_logits_alone(theirs, examples)) <= TOLERANCE
    assert recipe.objective.type == "lm"
    assert recipe.model.encoder.visibility == "causal"
    assert HuggingFaceFolder(tmp_path / "theirs").family.name == family


BARE = {"gpt2": GPT2Model, "openai_gpt": OpenAIGPTModel, "llama": LlamaModel}


@pytest.mark.parametrize("family", ["gpt2", "openai_gpt"])
def test_a_tied_model_without_its_prefix_is_whole(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str], family: str
) -> None:
    """As the files of OpenAI's own GPT-2 are, with the causal mask among the weights."""
    theirs, examples = theirs_of(family, small_vocab, bundled_texts)
    bare = BARE[family](theirs.config)
    bare.load_state_dict(theirs.transformer.state_dict())
    bare.save_pretrained(tmp_path / "bare")
    path = tmp_path / "bare" / "model.safetensors"
    mask = {f"h.{layer}.attn.bias": torch.ones(1, 1, 128, 128) for layer in range(3)}
    save_file({**load_file(path), **mask}, path, metadata={"format": "pt"})
    shutil.copyfile(small_vocab, tmp_path / "bare" / "vocab.txt")
    done = import_from_huggingface(str(tmp_path / "bare"), tmp_path / "out")
    assert not done.left_out
    export_to_huggingface(
        open_source(str(tmp_path / "out")), tmp_path / "whole", weights_format="safetensors"
    )
    again = MODELS[family].from_pretrained(tmp_path / "whole").eval()  # type: ignore[attr-defined]
    found = hf_logits_alone(again, examples)
    assert torch.equal(found, hf_logits_alone(theirs, examples))


def test_a_bare_llama_that_is_not_tied_is_imported_and_exported_without_its_head(
    tmp_path: Path, small_vocab: Path, bundled_texts: list[str]
) -> None:
    theirs, _ = theirs_of("llama", small_vocab, bundled_texts)
    theirs.model.save_pretrained(tmp_path / "bare")
    shutil.copyfile(small_vocab, tmp_path / "bare" / "vocab.txt")
    import_from_huggingface(str(tmp_path / "bare"), tmp_path / "out")
    source = open_source(str(tmp_path / "out"))
    assert "lm_unembed.weight" not in source.tensors()
    export_to_huggingface(source, tmp_path / "back", weights_format="safetensors")
    _, info = LlamaModel.from_pretrained(tmp_path / "back", output_loading_info=True)
    assert not any(info.values()), info
    back = load_file(tmp_path / "back" / "model.safetensors")
    there = load_file(tmp_path / "bare" / "model.safetensors")
    assert back.keys() == there.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in there.items())


@pytest.mark.parametrize(
    ("family", "changes", "sentence"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
        ("gpt2", {"activation_function": "mish"}, 'activation_function "mish"'),
        ("gpt2", {"n_layer": 2}, "there are 2 layers, but the weights have"),
        ("gpt2", {"vocab_size": 9}, "vocab_size = 9"),
        ("gpt2", {"model_type": "gpt_bigcode"}, "gpt_bigcode"),
        ("openai_gpt", {"afn": "tanh"}, 'afn "tanh"'),
        ("openai_gpt", {"n_positions": 9}, "n_positions = 9"),
        ("llama", {"rope_scaling": {"type": "linear", "factor": 2.0}}, 'type "linear"'),
        ("llama", {"rope_parameters": {"rope_type": "llama3"}}, 'type "llama3"'),
        ("llama", {"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
        ("llama", {"attention_bias": True}, "everywhere or nowhere"),
        ("llama", {"attention_bias": True, "mlp_bias": True}, "lack 'model.layers.0"),
        ("llama", {"num_key_value_heads": 2}, "k_proj.weight has the shape"),
        ("llama", {"num_key_value_heads": 3}, "heads = 4 is not a multiple"),
        ("llama", {"num_hidden_layers": 2}, "there are 2 layers, but the weights have"),
        ("llama", {"model_type": "gemma"}, "gemma"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_supported_is_refused(
    tmp_path: Path, small_vocab: Path, family: str, changes: Changes, sentence: str
) -> None:
    words = len(small_vocab.read_text(encoding="utf-8").splitlines())
    folder = tmp_path / "theirs"
    MODELS[family](config_of(family, words, {})).save_pretrained(folder)  # type: ignore[operator]
    shutil.copyfile(small_vocab, folder / "vocab.txt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(UserError) as caught:
        import_from_huggingface(str(folder), tmp_path / "out")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", MODELS)
def test_a_config_alone_becomes_the_blocks_of_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str
) -> None:
    config = config_of(family, 100, {}).to_dict()
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_DONE
    text = capsys.readouterr().out
    assert "visibility: causal" in text
    assert "type: lm" in text
    assert f"tied: {str(family != 'llama').lower()}" in text
    del config["num_hidden_layers" if family == "llama" else "n_layer"]
    path.write_text(json.dumps(config))
    assert main(["import", str(path), "--config-only"]) == EXIT_USER
    assert "lacks" in capsys.readouterr().err
