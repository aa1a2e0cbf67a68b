"""Fine-tune and predict with a classifier of reviews on a CPU, beside transformers.

python benchmarks/finetuning.py DATA VOCAB [--size base] [--rounds 2] [--steps 6] [--reviews 200]
    [--group-by-length] [--only train|predict]

DATA has train.tsv and test.tsv (`label<TAB>text_a`) of book_review. Fine-tuning: ptm packs reviews
into rows of 128 tokens, transformers' Trainer has batches of about as many reviews, padded to the
longest (with --group-by-length: of similar lengths). Prediction: `ptm predict` of reviews of
test.tsv, and a pipeline with batches of 8. Runs alternate, each in a process of its own. The
figures are medians: reviews per second, without start-up, and peak resident memory. Both sides have
random weights and texts of at most 128 tokens, in fp32. With base, two rounds take less than twelve
minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cpu_training import PROJECT, output_of

RECIPE = PROJECT / "recipes" / "finetune" / "classification" / "book_review.yaml"
SIZES = {"tiny": (2, 128, 2, 512), "mini": (4, 256, 4, 1024), "base": (12, 768, 12, 3072)}
ROWS, LENGTH = 16, 128
"""Rows per step of ptm, and the most tokens of a row."""
REVIEWS_PER_STEP = 36
"""About as many reviews of book_review are in 16 packed rows; the batch of the Trainer."""
WARM_UP = 1
"""First steps that do not count."""
TRAINED = 2000
"""Reviews of train.tsv that either side may read."""
SECONDS = 600.0


def show(reviews: float, **more: float) -> None:
    """Print the figures of this process: reviews per second and the peak of its memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"reviews": reviews, "peak": peak, **more}))


def lines_of(data: str, name: str, count: int) -> list[tuple[int, str]]:
    """Label and text of the first reviews of a file."""
    lines = Path(data, f"{name}.tsv").read_text(encoding="utf-8").splitlines()[1 : count + 1]
    rows = [line.split("\t") for line in lines]
    return [(int(label), text) for label, text, *_ in rows]


def overrides(folder: str, data: str, vocab: str, size: str) -> list[str]:
    """Those of ptm's recipe."""
    layers, width, heads, wide = SIZES[size]
    return [
        *(f"runs_dir={folder}/runs", f"data.corpus={data}/train.tsv", f"data.store={folder}/store"),
        *("init_from=null", "data.evaluation=null", "data.packing=true", "name=ptm"),
        *(f"data.sequence_length={LENGTH}", f"tokenizer.vocab={vocab}", "tokenizer.size=null"),
        *(f"model.encoder.layers={layers}", f"model.encoder.hidden_size={width}"),
        *(f"model.encoder.heads={heads}", f"model.encoder.feed_forward_size={wide}"),
        *("engine.precision=fp32", "engine.deepspeed=zero0", "train.epochs=null", "train.steps=1"),
        *(f"train.global_batch_size={ROWS}", f"train.micro_batch_size={ROWS}"),
        *("checkpoint.best=null", "checkpoint.every=1000000", "schedule.warmup=0"),
    ]


def train_ptm(folder: str, data: str, vocab: str, size: str, steps: int) -> None:
    from ptm.recipe import load_recipe
    from ptm.train.run import train

    words = [
        *overrides(folder, data, vocab, size),
        *(f"train.steps={steps}", f"tracking.log_every={steps}"),
    ]
    began: list[float] = []
    train(
        lambda: load_recipe(str(RECIPE), words),
        fresh=True,
        on_step_begin=lambda step: began.append(time.perf_counter()),
    )
    records = Path(folder, "runs", "ptm", "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    per_step = json.loads(records[-1])["examples"] / steps
    counted = steps - 1 - WARM_UP
    show(per_step * counted / (began[-1] - began[WARM_UP]), per_step=per_step)


def bert(vocab: str, size: str) -> tuple[Any, Any]:
    """transformers' classifier with random weights, and its tokenizer."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True)
    layers, width, heads, wide = SIZES[size]
    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=wide,
        num_labels=2,
        attn_implementation="sdpa",
    )
    return BertForSequenceClassification(config), tokenizer


def train_trainer(data: str, vocab: str, size: str, steps: int, *, by_length: bool) -> None:
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    model, tokenizer = bert(vocab, size)
    rows = [
        {**tokenizer(text, truncation=True, max_length=LENGTH), "labels": label}
        for label, text in lines_of(data, "train", TRAINED)
    ]
    ended: dict[int, float] = {}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            ended[state.global_step] = time.perf_counter()

    more = {"train_sampling_strategy": "group_by_length"} if by_length else {}
    arguments = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=REVIEWS_PER_STEP,
        max_steps=steps,
        learning_rate=2e-5,
        report_to=[],
        save_strategy="no",
        logging_steps=10**6,
        use_cpu=True,
        seed=7,
        disable_tqdm=True,
        max_grad_norm=1.0,
        **more,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Clock()],
    ).train()
    seconds = ended[steps] - ended[WARM_UP]
    show(REVIEWS_PER_STEP * (steps - WARM_UP) / seconds, per_step=REVIEWS_PER_STEP)


def predict_ptm(folder: str, data: str, vocab: str, size: str, count: int) -> None:
    from benchmarks.prediction import RandomClassifier
    from ptm.inference.predict.base import PredictionOptions
    from ptm.inference.predict.classification import ClassificationPredictor
    from ptm.inference.predict.text_files import InputText

    layers, width, *_ = SIZES[size]
    source = RandomClassifier(Path(folder), vocab, layers=layers, width=width)
    predictor = ClassificationPredictor(source, PredictionOptions())
    inputs = [InputText("", (text,)) for _, text in lines_of(data, "test", count)]
    timed(lambda some: predictor.predict(some), inputs)


def predict_pipeline(data: str, vocab: str, size: str, count: int) -> None:
    from transformers import pipeline

    model, tokenizer = bert(vocab, size)
    run = pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, device="cpu")
    texts = [text for _, text in lines_of(data, "test", count)]
    timed(lambda some: run(some, batch_size=8, truncation=True, max_length=LENGTH), texts)


def timed(predict: Callable[[list[Any]], object], inputs: list[Any]) -> None:
    """Predict for a tenth of the inputs, then show the speed for all of them."""
    predict(inputs[: max(1, len(inputs) // 10)])
    began = time.perf_counter()
    predict(inputs)
    show(len(inputs) / (time.perf_counter() - began))


def compare(kind: str, sides: dict[str, list[str]], *, rounds: int) -> None:
    """Alternate both sides; print a row of the table."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, words in sides.items():
            printed = output_of([str(Path(__file__).resolve()), *words], SECONDS)
            found[name].append(json.loads(printed.splitlines()[-1]))
    speed, peak = (
        {name: statistics.median(run[key] for run in runs) for name, runs in found.items()}
        for key in ("reviews", "peak")
    )
    mine, theirs = sides
    print(
        f"| {kind} | {rounds} | {speed[mine]:,.2f} | {speed[theirs]:,.2f} | "
        f"{speed[mine] / speed[theirs]:.2f} | {peak[mine]:,.0f} | {peak[theirs]:,.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("vocab")
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--reviews", type=int, default=200)
    parser.add_argument("--group-by-length", action="store_true")
    parser.add_argument("--only", choices=("train", "predict"))
    given = parser.parse_args()
    data, vocab, size = (
        str(Path(given.data).resolve()),
        str(Path(given.vocab).resolve()),
        given.size,
    )
    with tempfile.TemporaryDirectory() as folder:
        steps, by_length = str(given.steps), ["by-length"] if given.group_by_length else []
        head = ("ptm, reviews/s", "transformers, reviews/s", "ratio", "ptm, peak MB")
        print(f"| {size} | rounds | {' | '.join(head)} | transformers, peak MB |\n|{'---|' * 7}")
        if given.only != "predict":
            few = Path(folder) / "train.tsv"
            lines = Path(data, "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
            few.write_text("".join(lines[: TRAINED + 1]), encoding="utf-8")
            words = overrides(folder, folder, vocab, size)
            output_of(["-m", "ptm", "preprocess", str(RECIPE), *words], SECONDS)
            sides = {
                "ptm": ["--train-ptm", folder, folder, vocab, size, steps],
                "Trainer": ["--train-trainer", folder, vocab, size, steps, *by_length],
            }
            compare("fine-tuning", sides, rounds=given.rounds)
        if given.only != "train":
            reviews = str(given.reviews)
            sides = {
                "ptm": ["--predict-ptm", folder, data, vocab, size, reviews],
                "pipeline": ["--predict-pipeline", data, vocab, size, reviews],
            }
            compare("prediction", sides, rounds=given.rounds)


if __name__ == "__main__":
    kind, *rest = sys.argv[1:] or [""]
    if kind == "--train-ptm":
        train_ptm(*rest[:4], int(rest[4]))
    elif kind == "--train-trainer":
        train_trainer(*rest[:3], int(rest[3]), by_length="by-length" in rest)
    elif kind == "--predict-ptm":
        predict_ptm(*rest[:4], int(rest[4]))
    elif kind == "--predict-pipeline":
        predict_pipeline(*rest[:3], int(rest[3]))
    else:
        main()
