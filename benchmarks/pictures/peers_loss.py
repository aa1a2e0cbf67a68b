"""Loss of the checkpoints of benchmarks/pictures/peers.py on one held-out text.

python -m benchmarks.pictures.peers_loss FOLDER VOCAB OUT.json [--tools ptm uer hf]
    [--every 60] [--check UER_CHECKOUT]

Each checkpoint is read by transformers' BertForMaskedLM: ptm's after `ptm export`, UER-py's after
`ptm import` and `ptm export`, the Trainer's as it is. All get the same rows with the same masked
positions, without dropout. Curves that OUT.json has of other tools stay there. With --check,
UER-py's own model computes the loss of its last checkpoint too, which shows that the conversion
does not change it.

The held-out reviews come in two forms: `single`, one review per row, cut to 128 tokens, and
`joined`, all reviews in one stream that is cut every 128 tokens. 15 % of the tokens of a form that
are not special are predicted: as in training, [MASK] replaces 80 % of them, a random token 10 %.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import BertWordPieceTokenizer
from torch import Tensor
from transformers import BertForMaskedLM, PreTrainedTokenizerFast

from benchmarks.pictures.peers import EVERY, LENGTH, ROWS, STEPS

RATE = 0.15
ROWS_TOGETHER = 32
IGNORED = -100
"""The label of a position that is not predicted."""
Rows = list[tuple[Tensor, Tensor, Tensor]]
"""Batches of (input ids, attention mask, labels), each (rows, longest row)."""
Logits = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(input ids, attention mask, masked positions), of equal shape -> logits (masked, V)."""


def tokenizer_of(vocab: str) -> PreTrainedTokenizerFast:
    """BERT's WordPiece tokenizer with the special tokens that the data collator needs."""
    return PreTrainedTokenizerFast(
        tokenizer_object=BertWordPieceTokenizer(vocab)._tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def read_ids(path: Path, vocab: str) -> Iterator[list[int]]:
    """The token ids of each line, with [CLS] and [SEP]."""
    tokenizer = BertWordPieceTokenizer(vocab)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield tokenizer.encode(line.strip()).ids


def held_out_rows(folder: Path, vocab: str, *, joined: bool) -> Rows:
    """The held-out rows with masked tokens, the same in every call; short rows come first."""
    texts = list(read_ids(folder / "held_out.txt", vocab))
    if joined:
        stream = [token for text in texts for token in text]
        texts = [stream[at : at + LENGTH] for at in range(0, len(stream) - LENGTH + 1, LENGTH)]
    tokenizer = tokenizer_of(vocab)
    special = torch.tensor(tokenizer.all_special_ids)
    dice = torch.Generator().manual_seed(0)
    texts = sorted((text[:LENGTH] for text in texts), key=len)
    batches = []
    for first in range(0, len(texts), ROWS_TOGETHER):
        rows = [torch.tensor(text) for text in texts[first : first + ROWS_TOGETHER]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        masked = (torch.rand(ids.shape, generator=dice) < RATE) & ~torch.isin(ids, special)
        labels = torch.where(masked, ids, IGNORED)
        attention = (ids != 0).long()
        kind = torch.rand(ids.shape, generator=dice)
        others = torch.randint(len(tokenizer), ids.shape, generator=dice)
        mask = torch.tensor(tokenizer.convert_tokens_to_ids("[MASK]"))
        ids = torch.where(masked & (kind < 0.8), mask, ids)
        ids = torch.where(masked & (kind >= 0.9), others, ids)
        batches.append((ids, attention, labels))
    return batches


@torch.no_grad()
def loss_of(logits: Logits, rows: Rows) -> float:
    """Mean cross entropy of the masked tokens in nats."""
    total, count = 0.0, 0
    for ids, attention, labels in rows:
        masked = labels != IGNORED
        scores = logits(ids, attention, masked)
        total += float(torch.nn.functional.cross_entropy(scores, labels[masked], reduction="sum"))
        count += int(masked.sum())
    return total / count


def frequency_loss(folder: Path, vocab: str, rows: Rows) -> float:
    """The loss of a model that knows only how often each token occurs in the training text."""
    tokenizer = tokenizer_of(vocab)
    counts = torch.ones(len(tokenizer))
    for text in read_ids(folder / "train.txt", vocab):
        counts += torch.bincount(torch.tensor(text), minlength=len(tokenizer))
    counts[tokenizer.all_special_ids] = 1
    nats = -torch.log(counts / counts.sum())
    return float(torch.cat([nats[labels[labels != IGNORED]] for _, _, labels in rows]).mean())


def transformers_logits(folder: Path) -> Logits:
    """The logits of an export, computed by transformers."""
    model = BertForMaskedLM.from_pretrained(folder).eval()

    def logits(ids: Tensor, attention: Tensor, masked: Tensor) -> Tensor:
        hidden = model.bert(input_ids=ids, attention_mask=attention).last_hidden_state
        found: Tensor = model.cls(hidden[masked])
        return found

    return logits


def uer_logits(checkout: str, weights: Path, vocab: str) -> Logits:
    """The logits of a checkpoint of UER-py, computed by UER-py."""
    sys.path.insert(0, checkout)
    defaults = argparse.ArgumentParser()
    # UER-py reads its special tokens from a path relative to its folder.
    with contextlib.chdir(checkout):
        build_model = importlib.import_module("uer.model_builder").build_model
        importlib.import_module("uer.opts").model_opts(defaults)
    config = json.loads(Path(checkout, "models/bert/tiny_config.json").read_text("utf-8"))
    tokens = Path(vocab).read_text(encoding="utf-8").splitlines()
    tokenizer = Namespace(vocab={token: index for index, token in enumerate(tokens)})
    settings = {**vars(defaults.parse_args([])), **config, "target": ["mlm"]}
    model: Any = build_model(Namespace(**settings, tokenizer=tokenizer, tgt_tokenizer=tokenizer))
    model.load_state_dict(torch.load(weights))
    model.eval()
    head = model.target.mlm

    def logits(ids: Tensor, attention: Tensor, masked: Tensor) -> Tensor:
        hidden = model.encoder(model.embedding(ids, attention), attention)[masked]
        found: Tensor = head.linear_2(head.layer_norm(head.act(head.linear_1(hidden))))
        return found

    return logits


def as_transformers(folder: Path, vocab: str, *, tool: str, step: int) -> Path:
    """The folder of a checkpoint that transformers can read."""
    if tool == "hf":
        return folder / "hf" / f"checkpoint-{step}"
    out, source = folder / f"{tool}-export", folder / "ptm"
    number = ["--step", str(step)]
    shutil.rmtree(out, ignore_errors=True)
    if tool == "uer":
        source, number = folder / "uer-import", []
        shutil.rmtree(source, ignore_errors=True)
        weights = str(folder / f"uer.bin-{step}")
        words = ("import", weights, str(source), "--from", "uer", "--vocab", vocab)
        run_ptm(*words)
    run_ptm("export", str(source), str(out), "--to", "hf", *number)
    return out


def run_ptm(*words: str) -> None:
    """Run `ptm` in this process."""
    from ptm.cli import main as run

    code = run(list(words))
    assert code == 0, f"ptm {words[0]} ended with {code}"


def tokens_of(folder: Path, tool: str) -> dict[int, int]:
    """Real tokens that a tool has trained on after each step with a checkpoint."""
    if tool != "ptm":
        return {step: step * ROWS * LENGTH for step in range(EVERY, STEPS + 1, EVERY)}
    lines = (folder / "ptm" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {one["step"]: one["tokens"] for one in map(json.loads, lines) if one["split"] == "train"}


def main(words: list[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("vocab")
    parser.add_argument("out", type=Path)
    parser.add_argument("--tools", nargs="*", default=["ptm", "uer", "hf"])
    parser.add_argument("--every", type=int, default=60, help="steps between two points")
    parser.add_argument("--check", metavar="UER_CHECKOUT")
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    folder, vocab = given.folder.resolve(), str(Path(given.vocab).resolve())
    forms = {
        name: held_out_rows(folder, vocab, joined=name == "joined") for name in ("single", "joined")
    }
    counts = {
        name: sum(int((labels != IGNORED).sum()) for _, _, labels in rows)
        for name, rows in forms.items()
    }
    frequencies = {
        name: round(frequency_loss(folder, vocab, rows), 4) for name, rows in forms.items()
    }
    print("masked tokens:", counts, "frequencies alone:", frequencies, flush=True)
    curves: dict[str, list[dict[str, float]]] = {}
    if given.out.exists():
        curves = json.loads(given.out.read_text(encoding="utf-8"))["curves"]
    for tool in given.tools:
        curves[tool] = []
        for step, tokens in sorted(tokens_of(folder, tool).items()):
            if step % given.every:
                continue
            read = transformers_logits(as_transformers(folder, vocab, tool=tool, step=step))
            losses = {name: round(loss_of(read, rows), 4) for name, rows in forms.items()}
            curves[tool].append({"step": step, "tokens": tokens, **losses})
            print(tool, curves[tool][-1], flush=True)
        content = {"masked": counts, "frequencies": frequencies, "curves": curves}
        given.out.write_text(json.dumps(content) + "\n", encoding="utf-8")
    if given.check:
        weights = folder / f"uer.bin-{STEPS}"
        read = uer_logits(str(Path(given.check).resolve()), weights, vocab)
        print("UER-py's own model:", {name: loss_of(read, rows) for name, rows in forms.items()})


if __name__ == "__main__":
    main(sys.argv[1:])
