"""The same training with transformers' Trainer on the CPU: real tokens per second, peak memory.

python benchmarks/hf_trainer.py tiny|mini|base BATCH STEPS CORPUS VOCAB [bf16]

Texts are concatenated and cut into rows of 128 tokens without padding; attention is SDPA.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

SIZES = {"tiny": (2, 128, 2, 512), "mini": (4, 256, 4, 1024), "base": (12, 768, 12, 3072)}
LENGTH = 128


class Clock(TrainerCallback):
    """Records the time at which each step ended."""

    def __init__(self) -> None:
        self.ended: dict[int, float] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self.ended[state.global_step] = time.perf_counter()


def main(size: str, batch: int, steps: int, corpus: str, vocab: str, half: bool) -> None:
    """Train and print one line with speed and peak memory."""
    pieces = BertWordPieceTokenizer(vocab)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces._tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )
    ids: list[int] = []
    with Path(corpus).open(encoding="utf-8") as lines:
        for line in lines:
            ids += pieces.encode(line.strip()).ids
            if len(ids) > batch * (steps + 5) * LENGTH:
                break
    rows = [{"input_ids": ids[i : i + LENGTH]} for i in range(0, len(ids) - LENGTH, LENGTH)]
    layers, hidden, heads, wide = SIZES[size]
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=pieces.get_vocab_size(),
            num_hidden_layers=layers,
            hidden_size=hidden,
            num_attention_heads=heads,
            intermediate_size=wide,
            attn_implementation="sdpa",
        )
    )
    clock = Clock()
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=batch,
        max_steps=steps,
        learning_rate=1e-4,
        report_to=[],
        save_strategy="no",
        logging_steps=10**6,
        use_cpu=True,
        seed=7,
        disable_tqdm=True,
        max_grad_norm=1.0,
        bf16=half,
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    Trainer(
        model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock]
    ).train()
    first = max(2, steps // 5)
    seconds = (clock.ended[steps] - clock.ended[first]) / (steps - first)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"transformers {size} batch {batch} threads {torch.get_num_threads()}: "
        f"{batch * LENGTH / seconds:,.0f} real tokens/s, peak {peak:,.0f} MB"
    )


if __name__ == "__main__":
    main(
        sys.argv[1],
        int(sys.argv[2]),
        int(sys.argv[3]),
        sys.argv[4],
        sys.argv[5],
        "bf16" in sys.argv[6:],
    )
