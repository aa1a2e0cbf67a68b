"""Train the same tiny RoBERTa with ptm, UER-py and transformers' Trainer, for learning curves.

python -m benchmarks.pictures.peers texts FOLDER CORPUS
python -m benchmarks.pictures.peers ptm FOLDER VOCAB
python -m benchmarks.pictures.peers uer FOLDER VOCAB UER_CHECKOUT
python -m benchmarks.pictures.peers hf FOLDER VOCAB

`texts` writes FOLDER/train.txt and FOLDER/held_out.txt, the last 1,200 lines of the corpus. The
others train, one thread each, and leave a checkpoint every 30 steps in FOLDER. UER_CHECKOUT is a
copy of github.com/dbiir/UER-py; its programs preprocess.py and pretrain.py are called unchanged.
benchmarks/pictures/peers_loss.py measures the checkpoints.

Equal for all three: texts, vocabulary, tokens per step (16 rows of 128), shape and dropout of the
model, peak learning rate, linear schedule with 10 % warm-up, AdamW with weight decay 0.01 and
epsilon 1e-6, no gradient clipping, dynamic masking of 15 %, fp32.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
RECIPE = PROJECT / "recipes" / "roberta" / "tiny.yaml"
STEPS = 600
EVERY = 30
ROWS = 16
LENGTH = 128
RATE = 1e-3
WARMUP = 0.1
EPSILON = 1e-6
WEIGHT_DECAY = 0.01
HELD_OUT = 1200
"""Number of lines at the end of the corpus that no tool trains on."""
SEED = 7
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(PROJECT),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
}
"""The allocator keeps the blocks of the logits; with its default, the Trainer is much slower."""


def write_texts(folder: Path, corpus: str) -> None:
    """Split the lines of the corpus."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = Path(corpus).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.txt").write_text("".join(lines[:-HELD_OUT]), encoding="utf-8")
    (folder / "held_out.txt").write_text("".join(lines[-HELD_OUT:]), encoding="utf-8")


def train_ptm(folder: Path, vocab: str) -> None:
    """Train FOLDER/ptm."""
    arguments = [
        str(RECIPE),
        "name=ptm",
        f"runs_dir={folder}",
        f"data.corpus={folder / 'train.txt'}",
        f"data.store={folder / 'ptm-store'}",
        "data.held_out=0",
        f"data.sequence_length={LENGTH}",
        f"tokenizer.vocab={vocab}",
        f"seed={SEED}",
        f"train.steps={STEPS}",
        f"train.global_batch_size={ROWS}",
        f"train.micro_batch_size={ROWS}",
        "train.gradient_clipping=0",
        f"optimizer.learning_rate={RATE}",
        f"optimizer.epsilon={EPSILON}",
        f"optimizer.weight_decay={WEIGHT_DECAY}",
        f"schedule.warmup={WARMUP}",
        "engine.deepspeed=zero0",
        f"checkpoint.every={EVERY}",
        f"checkpoint.keep={STEPS // EVERY}",
        f"tracking.log_every={EVERY}",
    ]
    call("-m", "ptm", "preprocess", *arguments, folder=PROJECT)
    call("-m", "ptm", "train", *arguments, folder=PROJECT)


def train_uer(folder: Path, vocab: str, checkout: str) -> None:
    """Train FOLDER/uer.bin-STEP with UER-py's own programs, in rows that join reviews."""
    config = json.loads(Path(checkout, "models/bert/tiny_config.json").read_text("utf-8"))
    config_path = folder / "config.json"
    config_path.write_text(json.dumps({**config, "target": ["mlm"]}), encoding="utf-8")
    call(
        "preprocess.py",
        *("--corpus_path", str(folder / "train.txt"), "--vocab_path", vocab),
        *("--dataset_path", str(folder / "uer.pt"), "--data_processor", "mlm"),
        *("--seq_length", str(LENGTH), "--dynamic_masking", "--full_sentences"),
        folder=Path(checkout),
    )
    call(
        "pretrain.py",
        *("--dataset_path", str(folder / "uer.pt"), "--vocab_path", vocab),
        *("--config_path", str(config_path)),
        *("--output_model_path", str(folder / "uer.bin")),
        *("--data_processor", "mlm"),
        *("--total_steps", str(STEPS), "--save_checkpoint_steps", str(EVERY)),
        *("--report_steps", str(EVERY), "--batch_size", str(ROWS), "--seed", str(SEED)),
        *("--learning_rate", str(RATE), "--warmup", str(WARMUP)),
        folder=Path(checkout),
    )


def train_hf(folder: Path, vocab: str) -> None:
    """Train FOLDER/hf with transformers' Trainer, in rows that join reviews (as run_mlm.py)."""
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    from benchmarks.pictures.peers_loss import read_ids, tokenizer_of

    set_seed(SEED)
    tokenizer = tokenizer_of(vocab)
    ids = [token for text in read_ids(folder / "train.txt", vocab) for token in text]
    ends = range(LENGTH, len(ids) + 1, LENGTH)
    rows = [{"input_ids": ids[end - LENGTH : end]} for end in ends]
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            num_hidden_layers=2,
            hidden_size=128,
            num_attention_heads=2,
            intermediate_size=512,
        )
    )
    arguments = TrainingArguments(
        output_dir=str(folder / "hf"),
        per_device_train_batch_size=ROWS,
        max_steps=STEPS,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        warmup_steps=round(STEPS * WARMUP),
        weight_decay=WEIGHT_DECAY,
        adam_epsilon=EPSILON,
        max_grad_norm=0.0,
        save_steps=EVERY,
        save_only_model=True,
        logging_steps=EVERY,
        report_to=[],
        use_cpu=True,
        seed=SEED,
        disable_tqdm=True,
    )
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate).train()


def call(*words: str, folder: Path) -> None:
    """Run a Python program in `folder`; its failure ends this program."""
    environment = ENVIRONMENT
    if folder != PROJECT:
        environment = {**ENVIRONMENT, "PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:3])} ended with {done.returncode}")


def main(words: list[str]) -> None:
    kind, folder, *rest = words
    place = Path(folder).resolve()
    paths = [str(Path(path).resolve()) for path in rest]
    if kind == "texts":
        write_texts(place, *paths)
    elif kind == "ptm":
        train_ptm(place, *paths)
    elif kind == "uer":
        train_uer(place, *paths)
    elif os.environ.get("MALLOC_MMAP_THRESHOLD_") is None:
        call("-m", "benchmarks.pictures.peers", "hf", str(place), *paths, folder=PROJECT)
    else:
        train_hf(place, *paths)


if __name__ == "__main__":
    main(sys.argv[1:])
