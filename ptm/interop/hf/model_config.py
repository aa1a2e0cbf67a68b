"""The content of a config.json: every key is read, declared, or an error.

A key that is not read may change the model that transformers builds from the file. So each family
declares the keys that cannot (`keys_without_effect`) and the keys that may have one value only
(`fixed_keys`); those of every model of transformers are listed here. Any other key is an error.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ptm.errors import UserError

_FIXED: Mapping[str, Any] = {
    "tie_encoder_decoder": False,
    "pruned_heads": {},
    "use_sliding_window": False,
}
"""Keys of every config that have this value in every supported model, unless a family declares
another one."""
_GENERATION = (
    *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups"),
    *("diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty"),
    *("length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids"),
    *("num_return_sequences", "output_scores", "return_dict_in_generate", "forced_bos_token_id"),
    *("forced_eos_token_id", "force_bos_token_to_be_generated", "remove_invalid_values"),
    *("exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"),
    *("decoder_start_token_id", "prefix", "use_cache", "max_new_tokens", "generation_config"),
)
_HEADS = (
    *("id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "num_choices"),
    *("classifier_dropout", "classifier_dropout_prob", "classif_dropout", "task_specific_params"),
    *("summary_type", "summary_use_proj", "summary_activation", "summary_last_dropout"),
    *("summary_proj_to_labels", "summary_first_dropout", "pooler_type", "directionality"),
    *("pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"),
    *("pooler_size_per_head", "sequence_classif_dropout"),
)
"""Of fine-tuning, whose heads are left out."""
_PROGRAM = (
    *("model_type", "architectures", "transformers_version", "transformers.js_config", "auto_map"),
    *("name_or_path", "dtype", "torch_dtype", "tokenizer_class", "language", "model_max_length"),
    *("return_dict", "output_hidden_states", "output_attentions", "output_past", "torchscript"),
    *("use_bfloat16", "tf_legacy_loss", "xla_device", "gradient_checkpointing", "adapters"),
    *("chunk_size_feed_forward", "attn_implementation", "keys_to_ignore_at_inference"),
    *("unsloth_version", "unsloth_fixed", "enable_recompute", "fuse", "use_flash_attention"),
    *("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "cls_token_id"),
    *("sep_token_id", "mask_token_id", "vocab_size", "loss_type", "label_smoothing", "save_step"),
    "model_name",
)
"""Of the program, which computes the same function for each value. The special tokens and the size
of the vocabulary are compared with the tokenizer."""
_DECODER = (
    *("is_decoder", "is_encoder_decoder", "add_cross_attention", "cross_attention_hidden_size"),
)
"""They have an effect only in the families that fix them: BERT and its kin, GPT-2 and T5."""
_WITHOUT_EFFECT = frozenset((*_GENERATION, *_HEADS, *_PROGRAM, *_DECODER))


class ModelConfig(Mapping[str, Any]):
    """The content of a config.json, with a record of the keys that were read.

    A key that is null is left out, because it stands for the default.
    `aliases`: names that transformers accepts for another key.
    Raises UserError if an alias contradicts its key.
    """

    def __init__(self, content: Mapping[str, Any], *, aliases: Mapping[str, str] = {}) -> None:
        self._content = {key: value for key, value in content.items() if value is not None}
        self._aliases = {name: key for name, key in aliases.items() if name in self._content}
        self._read: set[str] = set()
        for name, key in self._aliases.items():
            value = self._content.pop(name)
            if key not in self._content:
                self._content[key] = value
            elif value != self._content[key]:
                raise UserError(
                    f"config.json: {name} = {json.dumps(value)}, but {key} = "
                    f"{json.dumps(self._content[key])}. Both name the same option."
                )

    def __getitem__(self, key: str) -> Any:
        self._read.add(key)
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def with_defaults(self, defaults: Mapping[str, Any]) -> ModelConfig:
        """This config, and its record of keys, with values for absent keys."""
        changed = ModelConfig({**defaults, **self._content})
        changed._read = self._read
        return changed

    def check_declared(self, *, fixed: Mapping[str, Any], without_effect: Collection[str]) -> None:
        """Raise UserError for a key that was not read and is not declared, or is not as declared.

        `fixed`: keys that may have one value only. `without_effect`: keys that do not change the
        model.
        """
        kind = json.dumps(self._content.get("model_type"))
        code = [k for k in self._content.get("auto_map") or {} if k != "AutoTokenizer"]
        if code:
            raise UserError(
                f"config.json: auto_map names Python code of the model's own ({code[0]}), which "
                "is not run, so the model could differ."
            )
        if "quantization_config" in self._content:
            raise UserError(
                "config.json: the model is quantized (quantization_config), which is not "
                "supported. Use the model without quantization."
            )
        only = {**_FIXED, **fixed}
        for key, value in self._content.items():
            if key in self._read or key.startswith("_"):
                continue
            shown = json.dumps(value, ensure_ascii=False)
            if key in only:
                if value != only[key]:
                    raise UserError(
                        f"config.json: {key} = {shown} is not supported with model_type {kind}. "
                        f"Supported: {json.dumps(only[key])}."
                    )
            elif key not in _WITHOUT_EFFECT and key not in without_effect:
                raise UserError(
                    f"config.json: {key} = {shown} is not a known option of model_type {kind}, so "
                    "the model could differ. If the key has no effect, remove it."
                )
