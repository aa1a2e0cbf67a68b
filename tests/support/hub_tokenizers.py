"""Tokenizers of many pipelines, as models of the Hub have them, trained on the bundled corpus."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import (
    AddedToken,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CORPUS = Path(__file__).parents[2] / "recipes" / "quickstart" / "corpus"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROBERTA = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


@cache
def corpus_lines() -> list[str]:
    """Every fourth line of the bundled corpus."""
    files = (CORPUS / "english.txt", CORPUS / "chinese.txt")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines[::4] if line]


def training_lines() -> list[str]:
    """The lines that the tokenizers are trained on, with words and marks of other scripts."""
    return [*corpus_lines(), *(" ".join(_PARTS) for _ in range(3))]


@dataclass(frozen=True)
class Made:
    """A tokenizer of a pipeline, and its special tokens by role."""

    pipeline: tokenizers.Tokenizer
    roles: dict[str, str]


def _byte_level(
    split: str | None,
    *,
    specials: Sequence[str | AddedToken],
    normalizer: normalizers.Normalizer | None = None,
    digits: bool = False,
    added: Sequence[AddedToken] = (),
    **options: Any,
) -> tokenizers.Tokenizer:
    """Byte-level BPE that splits by an expression of its own, or by GPT-2's."""
    made = tokenizers.Tokenizer(models.BPE(**options))
    if normalizer is not None:
        made.normalizer = normalizer
    steps: list[pre_tokenizers.PreTokenizer] = []
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if split is not None:
        steps.append(pre_tokenizers.Split(Regex(split), "isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(training_lines(), trainer)
    # After the training, as for Llama 3 and Qwen: the special tokens are not in the model.
    made.add_special_tokens(
        [AddedToken(t, normalized=False) if isinstance(t, str) else t for t in specials]
    )
    made.add_tokens(list(added))
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def _llama3() -> Made:
    specials = ("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>")
    roles = {"bos": specials[0], "eos": specials[1], "pad": specials[2]}
    return Made(_byte_level(LLAMA3, specials=specials, ignore_merges=True), roles)


def _qwen2() -> Made:
    specials = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    added = [AddedToken("<tool_call>", normalized=False), AddedToken("</tool_call>")]
    made = _byte_level(QWEN2, specials=specials, normalizer=normalizers.NFC(), added=added)
    return Made(made, dict.fromkeys(("bos", "eos", "pad"), specials[0]))


def _olmo() -> Made:
    """GPT-NeoX's, which has added words for runs of spaces."""
    added = [AddedToken(" " * width, normalized=True) for width in range(2, 9)]
    made = _byte_level(
        None,
        specials=("<|endoftext|>", "<|padding|>"),
        normalizer=normalizers.NFC(),
        added=added,
    )
    return Made(made, {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|padding|>"})


def _modernbert() -> Made:
    added = [AddedToken(" " * width, normalized=True) for width in range(2, 6)]
    made = _byte_level(None, specials=(), normalizer=normalizers.NFC(), added=added)
    mask = AddedToken("[MASK]", lstrip=True, normalized=False)
    made.add_special_tokens(["[UNK]", "[CLS]", "[SEP]", "[PAD]", mask])
    return Made(made, _bert_roles())


def _digits() -> Made:
    made = _byte_level(None, specials=ROBERTA, digits=True)
    return Made(made, _roberta_roles())


def _gpt2(*, prefix: bool) -> Made:
    mask = AddedToken(ROBERTA[-1], lstrip=True, normalized=False)
    made = _byte_level(None, specials=(*ROBERTA[:-1], mask))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    return Made(made, _roberta_roles())


def _byte_level_lowercase() -> Made:
    steps = [normalizers.NFKC(), normalizers.Lowercase()]
    made = _byte_level(None, specials=ROBERTA, normalizer=normalizers.Sequence(steps))
    return Made(made, _roberta_roles())


def _wordpiece(
    *,
    normalizer: normalizers.Normalizer | None = None,
    pre_tokenizer: pre_tokenizers.PreTokenizer | None = None,
    added: Sequence[AddedToken] = (),
    **options: Any,
) -> Made:
    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]", **options))
    made.normalizer = normalizer or normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizer or pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=1900, special_tokens=list(BERT), show_progress=False
    )
    made.train_from_iterator(training_lines(), trainer)
    if options:
        vocab = made.get_vocab(with_added_tokens=False)
        made.model = models.WordPiece(vocab, unk_token="[UNK]", **options)
    made.add_tokens(list(added))
    return Made(made, _bert_roles())


def _bert() -> Made:
    return _wordpiece()


def _bert_keeps_accents() -> Made:
    return _wordpiece(normalizer=normalizers.BertNormalizer(strip_accents=False))


def _bert_without_chinese() -> Made:
    return _wordpiece(normalizer=normalizers.BertNormalizer(handle_chinese_chars=False))


def _bert_with_words() -> Made:
    added = [AddedToken("covid"), AddedToken("新冠肺炎"), AddedToken("e-mail", single_word=True)]
    return _wordpiece(added=added)


def _bert_short_words() -> Made:
    return _wordpiece(max_input_chars_per_word=6)


def _wordpiece_nfkc() -> Made:
    steps = [normalizers.NFKC(), normalizers.Lowercase(), normalizers.StripAccents()]
    return _wordpiece(
        normalizer=normalizers.Sequence(steps), pre_tokenizer=pre_tokenizers.Whitespace()
    )


def _wordpiece_digits() -> Made:
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.BertPreTokenizer()]
    return _wordpiece(pre_tokenizer=pre_tokenizers.Sequence(steps))


def _metaspace_bpe(*, old: bool) -> Made:
    """LLaMA 2's: byte fallback, and spaces marked by normalizers or by a pre-tokenizer."""
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=1900, special_tokens=names, show_progress=False)
    made.train_from_iterator(training_lines(), trainer)
    # Only the first three are special tokens; the trainer adds all of them.
    content = _without_added(made, keep=set(names[:3]))
    if old:
        content.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        content.pre_tokenizer = None
    content.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return Made(content, {"bos": "<s>", "eos": "</s>", "pad": "</s>", "unk": "<unk>"})


def _without_added(made: tokenizers.Tokenizer, *, keep: set[str]) -> tokenizers.Tokenizer:
    content = json.loads(made.to_str())
    content["added_tokens"] = [t for t in content["added_tokens"] if t["content"] in keep]
    return tokenizers.Tokenizer.from_str(json.dumps(content))


def _unigram(
    *,
    normalizer: normalizers.Normalizer,
    specials: Sequence[str],
    roles: dict[str, str],
    scheme: str = "always",
    split: bool = True,
) -> Made:
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.UnigramTrainer(
        vocab_size=1900, special_tokens=list(specials), unk_token=roles["unk"], show_progress=False
    )
    made.train_from_iterator(training_lines(), trainer)
    return Made(made, roles)


def _xlmr() -> Made:
    steps = [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    normalizer = normalizers.Sequence(steps)
    return _unigram(normalizer=normalizer, specials=ROBERTA, roles=_roberta_roles())


def _t5() -> Made:
    specials = ("<pad>", "</s>", "<unk>", *(f"<extra_id_{number}>" for number in range(9, -1, -1)))
    roles = {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}
    return _unigram(normalizer=normalizers.NFKC(), specials=specials, roles=roles, scheme="first")


def _albert() -> Made:
    """ALBERT's: rewrites quotes and removes accents before the pieces are found."""
    steps = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
    ]
    specials = ("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]")
    roles = {**_bert_roles(), "pad": "<pad>", "unk": "<unk>"}
    return _unigram(normalizer=normalizers.Sequence(steps), specials=specials, roles=roles)


def _word_level() -> Made:
    """Special tokens are words of the model, which a text could contain."""
    made = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=1500, special_tokens=list(BERT), show_progress=False
    )
    made.train_from_iterator(training_lines(), trainer)
    return Made(made, _bert_roles())


def _end_of_word() -> Made:
    """The first GPT's: words end in </w>."""
    made = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=1900,
        special_tokens=list(ROBERTA),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    made.train_from_iterator(training_lines(), trainer)
    return Made(made, _roberta_roles())


def _characters() -> Made:
    made = tokenizers.Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Split(Regex(""), "isolated")
    made.decoder = decoders.Fuse()
    trainer = trainers.WordLevelTrainer(
        vocab_size=1500, special_tokens=list(BERT), show_progress=False
    )
    made.train_from_iterator(training_lines(), trainer)
    return Made(made, _bert_roles())


def _bert_roles() -> dict[str, str]:
    return dict(zip(("pad", "unk", "cls", "sep", "mask"), BERT, strict=True))


def _roberta_roles() -> dict[str, str]:
    return dict(zip(("cls", "pad", "sep", "unk", "mask"), ROBERTA, strict=True))


KINDS: dict[str, Callable[[], Made]] = {
    "llama3": _llama3,
    "qwen2": _qwen2,
    "olmo": _olmo,
    "modernbert": _modernbert,
    "gpt2": lambda: _gpt2(prefix=False),
    "gpt2, prefix space": lambda: _gpt2(prefix=True),
    "byte level, single digits": _digits,
    "byte level, NFKC and lowercase": _byte_level_lowercase,
    "bert": _bert,
    "bert with accents": _bert_keeps_accents,
    "bert without Chinese spacing": _bert_without_chinese,
    "bert with added words": _bert_with_words,
    "bert, words of 6 characters": _bert_short_words,
    "wordpiece, NFKC": _wordpiece_nfkc,
    "wordpiece, single digits": _wordpiece_digits,
    "llama2": lambda: _metaspace_bpe(old=False),
    "llama2, normalizers": lambda: _metaspace_bpe(old=True),
    "xlm-roberta": _xlmr,
    "t5": _t5,
    "albert": _albert,
    "words": _word_level,
    "words that end in </w>": _end_of_word,
    "characters": _characters,
}


@cache
def made(kind: str) -> Made:
    """The tokenizer of a kind, trained once for all tests."""
    return KINDS[kind]()


_PARTS = (
    "the", "The", "colour", "naïve", "Ångström", "don't", "123", "45678", "3,456.78",
    "天气", "预报", "𠮷野家", "ＡＢＣ", "１２３", "，", "。", "ﬁ", "½", "Русский", "Ελληνικά", "ς",
    "עברית", "العربية", "हिन्दी", "ไทย", "བོད", "한국어", "ひらがな", "e\u0301", "의\u200d",
    "😀", "👨‍👩‍👧", "★", "—", "…", "``", "''", "_", "-", "##ing", "</w>", "▁", "Ġ", "covid",
    "新冠肺炎", "e-mail", "<0x0A>", "\u00a0", "\u3000", "\u200b", "\x07", "İstanbul",
)  # fmt: skip


def drawn_texts(count: int, specials: Sequence[str] = (), *, seed: int = 7) -> list[str]:
    """Random strings of words, digits, marks and spaces of many scripts, and of `specials`."""
    draw = random.Random(seed)
    parts = [*_PARTS, *specials]
    return [
        "".join(
            draw.choice(parts) + draw.choice(("", "", " ", " ", "  ", "\t"))
            for _ in range(draw.randint(0, 12))
        )
        for _ in range(count)
    ]
