"""Put mistakes into a copy of the code, one at a time; the default tests must fail for each.

    python tests/mutations.py [NAME ...] [--list]

Each mutation replaces one piece of text in one file. Only the tests listed with it are run: they
are part of the default suite, so if one of them fails, `make test` fails. The copy is a git
worktree of HEAD in the system's temporary folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """One mistake, and default tests that detect it."""

    path: str
    before: str
    after: str
    tests: tuple[str, ...]


MUTATIONS = {
    "a file of the user does not protect a folder": Mutation(
        "ptm/files/ownership.py",
        "if not _is_known(entry, inside, kind):",
        "if entry.is_symlink() and not _is_known(entry, inside, kind):",
        ("tests/unit/files/test_ownership.py",),
    ),
    "links are removed with a folder": Mutation(
        "ptm/files/ownership.py",
        "return kind.links.fullmatch(inside) is not None",
        "return True",
        ("tests/unit/files/test_ownership.py",),
    ),
    "a store in use is replaced": Mutation(
        "ptm/store/reader.py",
        "    except BlockingIOError:\n        return True\n",
        "    except BlockingIOError:\n        return False\n",
        ("tests/unit/store/test_changes.py",),
    ),
    "a shard that was cut short is read": Mutation(
        "ptm/store/shards.py",
        "        self._check_size(found.st_size)\n        if found.st_mtime_ns",
        "        if found.st_mtime_ns",
        ("tests/unit/store/test_changes.py -k cut_short",),
    ),
    "the lock of a run folder is released over its rename": Mutation(
        "ptm/train/run_folder.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX)\n        yield",
        "            pass\n        yield",
        ("tests/integration/training/test_own_files.py -k fresh_starts",),
    ),
    "rows per step of a translated line ignore its ranks": Mutation(
        "ptm/translate/uer_recipe.py",
        "batch * parallel * accumulated",
        "batch * accumulated",
        ("tests/unit/translate/test_uer_recipes.py -k rows_per_step",),
    ),
    "a translated line ignores its configuration file": Mutation(
        "ptm/translate/uer_settings.py",
        "if Path(path).exists():",
        "if False:",
        ("tests/unit/translate/test_uer_models.py -k takes_precedence",),
    ),
    "a special token in a text gets its own id": Mutation(
        "ptm/text/tokenizers/pipeline_file.py",
        "for token in specials - recognised if token in known}",
        "for token in () if token in known}",
        ("tests/unit/text/test_huggingface_tokenizers.py -k plain_text",),
    ),
    "a pipeline's loss is not scaled by its data ranks": Mutation(
        "ptm/engines/pipeline.py",
        "return loss * (self._batch.accumulation * self._batch.ranks)",
        "return loss * self._batch.accumulation",
        ("tests/integration/engines/test_parity.py -k four_ranks",),
    ),
    "the last fragment of a rank is not saved": Mutation(
        "ptm/train/saving/writer.py",
        "for owned in self._state.local_fragments():",
        "for owned in list(self._state.local_fragments())[:-1]:",
        ("tests/integration/engines/test_exports.py -k fragments_cover",),
    ),
    "the causal mask is shifted by one": Mutation(
        "ptm/nn/attention_mask.py",
        "return seen & (before >= 0)\n",
        "return seen & (before >= -1)\n",
        ("tests/unit/model/test_no_leaks.py",),
    ),
    "examples of a row attend to each other": Mutation(
        "ptm/nn/attention_mask.py",
        "return (query_ids[:, :, None] == key_ids[:, None, :])[:, None]",
        "return ((query_ids[:, :, None] > 0) == (key_ids[:, None, :] > 0))[:, None]",
        ("tests/unit/nn/test_self_attention.py",),
    ),
    "the second layer of a stream reads the other direction": Mutation(
        "ptm/nn/two_streams.py",
        "hidden.chunk(2, dim=-1) if self.split_input",
        "hidden.chunk(2, dim=-1)[::-1] if self.split_input",
        ("tests/unit/model/test_no_leaks.py",),
    ),
    "the backward direction of a bilm predicts the next token": Mutation(
        "ptm/components/objectives/bilm.py",
        "placement.to_grid(stream[read - 1], fill=0)",
        "placement.to_grid(stream[read + 1], fill=0)",
        ("tests/unit/components/objectives/test_bilm.py",),
    ),
    "a stopped training exits with 0": Mutation(
        "ptm/train/trainer.py",
        "        return code\n\n    def _train_step",
        "        return EXIT_DONE\n\n    def _train_step",
        ("tests/integration/training/test_resume.py -k stopped_run",),
    ),
    "every character with one token is a word of its own": Mutation(
        "ptm/text/tokenizers/char_table.py",
        'elif len(words) == 3 and (words[0], words[2]) == ("a", "b") and len(alone.ids) == 1:',
        "elif len(alone.ids) == 1:",
        ("tests/unit/text/test_table_encoder.py -k random_texts",),
    ),
    "lengths of a store that do not add up are read": Mutation(
        "ptm/store/reader.py",
        "if lengths.min() < 1 or lengths.sum() != total:",
        "if lengths.min() < 1:",
        ("tests/unit/store/test_store_formats.py -k add_up",),
    ),
    "invalid lines are counted from the start of a piece": Mutation(
        "ptm/store/encode.py",
        "first_invalid, problem = lines + part.first_invalid, part.problem",
        "first_invalid, problem = part.first_invalid, part.problem",
        ("tests/unit/store/test_pieces.py -k first_invalid",),
    ),
    "a range is cut inside CR LF": Mutation(
        "ptm/text/corpus/lines.py",
        "while found and data.startswith(newline, found):",
        "while False:",
        ("tests/unit/text/test_ranges.py -k cr_lf_is_not",),
    ),
    "the line of an error is counted from the start of a range": Mutation(
        "ptm/store/parts.py",
        "return finish_block(encode, part.numbered(), partial)",
        "raise",
        ("tests/unit/store/test_parts.py -k names_the_line",),
    ),
    "an error of a later part of a corpus is reported": Mutation(
        "ptm/store/workers.py",
        "before=min(self._failures, default=math.inf)",
        "before=0 if self._failures else math.inf",
        ("tests/unit/store/test_parts.py -k first_error",),
    ),
    "a last document without a line end is lost": Mutation(
        "ptm/text/corpus/reader.py",
        "cut = len(data) if not chunk else self._last_boundary(data, searched)",
        "cut = self._last_boundary(data, searched)",
        ("tests/unit/text/test_corpus.py",),
    ),
    "values that a shell changes are not protected": Mutation(
        "ptm/launch/environment.py",
        "return name in ON_COMMAND_LINES and bool(_PLAIN.fullmatch(value))",
        "return name in ON_COMMAND_LINES",
        ("tests/unit/launch/test_environment.py",),
    ),
    "overrides go to other hosts unescaped": Mutation(
        "ptm/launch/command.py",
        "rest = [encode_arguments(rest, folder=Path.cwd())]",
        "pass",
        ("tests/unit/launch/test_environment.py",),
    ),
    "Adam's count of updates is not restored": Mutation(
        "ptm/engines/fragments.py",
        'state[flat]["step"] = torch.tensor(float(updates), device=flat.device)',
        'state[flat]["step"] = torch.tensor(1.0, device=flat.device)',
        ("tests/integration/training/test_resume.py -k stopped_run",),
    ),
    "dropout is not reseeded per step": Mutation(
        "ptm/engines/base.py",
        'self._seed_dropout(seed_of(self._seed, "dropout", step, self._ranks.rank))',
        "pass",
        ("tests/integration/training/test_resume.py -k stopped_run",),
    ),
    "a resume keeps reports past its checkpoint": Mutation(
        "ptm/recipe/saved_files.py",
        "if parse_json(line, _Event).step <= step:",
        "if parse_json(line, _Event).step >= 0:",
        ("tests/integration/training/test_resume.py -k killed_run",),
    ),
    "the loss scale of fp16 is not restored": Mutation(
        "ptm/train/trainer.py",
        'self._engine.state.set_scaler(checkpoint.run["scaler"])',
        "pass",
        ("tests/integration/engines/test_resume_ranks.py -k fp16",),
    ),
    "a fragment of ZeRO 1 and 2 is recorded with offset 0": Mutation(
        "ptm/engines/fragments.py",
        "name, parameter_range.start, flat, master_range.start, master_range.numel",
        "name, 0, flat, master_range.start, master_range.numel",
        ("tests/integration/engines/test_exports.py -k fragments_cover",),
    ),
    "a damaged checkpoint is not noticed": Mutation(
        "ptm/checkpoint/verification.py",
        "if digest.hexdigest() != entry.blake2b:",
        'if digest.hexdigest() == "":',
        ("tests/integration/training/test_resume.py -k damaged_checkpoint",),
    ),
    "a second Ctrl-C does not kill": Mutation(
        "ptm/launch/launching.py",
        "self.at_once = self.at_once or (interrupted and self.code is not None)",
        "self.at_once = False",
        ("tests/integration/launch/test_launching.py -k second_ctrl_c",),
    ),
    "a sum of class weights below 1 is taken for 1": Mutation(
        "ptm/engines/loss.py",
        "(counts[metric.count] or 1.0)",
        "max(1.0, counts[metric.count])",
        ("tests/integration/training/test_classification.py -k accumulated",),
    ),
    "texts of other ranks have no gradient": Mutation(
        "ptm/engines/cached_gradients.py",
        "        for gradient in found if ranks.world_size > 1 else ():\n",
        "        for gradient in ():\n",
        ("tests/integration/engines/test_embedding.py -k zero_3_has",),
    ),
    "the second run of a micro-batch has another dropout": Mutation(
        "ptm/engines/zero.py",
        "        self._seed_dropout(seed)\n",
        "        seed += 1\n",
        ("tests/integration/training/test_embedding.py -k dropout",),
    ),
    "a copy of the positive is a negative": Mutation(
        "ptm/nn/in_batch_negatives.py",
        "(same | (roles < POSITIVE))",
        "(roles < POSITIVE)",
        ("tests/unit/components/objectives/test_embedding.py -k equal_texts",),
    ),
    "the first word of a sentence follows the last one of another": Mutation(
        "ptm/nn/linear_chain_crf.py",
        "    follows = chains.words & ~chains.first\n",
        "    follows = chains.words & ~chains.begins\n",
        ("tests/unit/nn/test_linear_chain_crf.py",),
    ),
    "a further token of a word ends a chain of tags": Mutation(
        "ptm/nn/linear_chain_crf.py",
        "        scores = torch.where(is_word, reached, scores)\n"
        "        at_each.append(scores)\n    ended",
        "        scores = reached\n        at_each.append(scores)\n    ended",
        ("tests/unit/nn/test_linear_chain_crf.py",),
    ),
    "entities are scored within windows instead of sentences": Mutation(
        "ptm/components/objectives/tagging.py",
        '            "begins": chains.begins.flatten(),\n',
        '            "begins": chains.first.flatten(),\n',
        ("tests/integration/training/test_tagging.py -k over_windows",),
    ),
    "a window is cut within a word": Mutation(
        "ptm/data/tagged.py",
        "    borders = np.union1d(np.flatnonzero(firsts), ends)\n",
        "    borders = np.arange(firsts.size + 1)\n",
        ("tests/unit/store/test_tagged_store.py -k windows",),
    ),
    "a tag is stored at the last token of its word": Mutation(
        "ptm/store/encode.py",
        "        of_tokens[firsts] = labels + 1\n",
        "        of_tokens[firsts + encoded.lengths - 1] = labels + 1\n",
        ("tests/unit/store/test_tagged_store.py -k first_token",),
    ),
    "examples that were evaluated twice count twice": Mutation(
        "ptm/engines/predictions.py",
        "ordered = {name: array[first] for name, array in predictions.items()}",
        "ordered = predictions",
        ("tests/unit/engines/test_predictions.py",),
    ),
    "unknown keys of a config.json are ignored": Mutation(
        "ptm/interop/hf/model_config.py",
        "            elif key not in _WITHOUT_EFFECT and key not in without_effect:",
        "            elif key in self._aliases:",
        ("tests/integration/parity/test_declared_options.py",),
    ),
    "tensors of other architectures are left out": Mutation(
        "ptm/interop/hf/io/folder.py",
        "if not family.is_left_out(name)]",
        "if not name]",
        ("tests/integration/parity/test_declared_options.py",),
    ),
    "an export compares no options": Mutation(
        "ptm/interop/effective_options.py",
        "        if theirs[path] != value:",
        "        if type(theirs[path]) is not type(value):",
        ("tests/integration/parity/test_unsupported_exports.py",),
    ),
    "a bare RoBERTa counts positions from 0": Mutation(
        "ptm/interop/hf/families/roberta.py",
        'config.get("pad_token_id", 1) + 1',
        "0",
        ("tests/integration/parity/test_declared_options.py",),
    ),
    "the weights of UER-py's norms are imported as they are": Mutation(
        "ptm/interop/uer/entries.py",
        "return ((count - 1) / count) ** 0.5 if self.layer_norm and count > 1 else self.factor",
        "return self.factor",
        ("tests/integration/parity/test_uer_logits.py -k bert",),
    ),
    "the table of relative positions that TencentPretrain ignores is imported": Mutation(
        "ptm/interop/uer/encoders/transformer.py",
        'theirs[f"encoder.relative_pos_emb.{_TABLE}"] = tables[0]',
        "return",
        ("tests/integration/parity/test_uer_logits.py -k tencent",),
    ),
    "biases of earlier and later keys are exchanged": Mutation(
        "ptm/nn/positions.py",
        ".unfold(-1, keys, 1).flip(1)[None]",
        ".flip(1).unfold(-1, keys, 1)[None]",
        ("tests/unit/nn/test_position_bias.py",),
    ),
    "a recomputed block takes the mask with biases of its first run": Mutation(
        "ptm/nn/packed_examples.py",
        "        if not self._shares_biases:",
        "        if False:",
        ("tests/unit/nn/test_position_bias.py",),
    ),
    "a target reads the sources in the order of the encoder's rows": Mutation(
        "ptm/data/sides_apart.py",
        "memory.grid(source.cells + 1)",
        "memory.grid(np.sort(source.cells) + 1)",
        ("tests/unit/data/test_sides_apart.py", "tests/unit/model/test_sides_apart.py"),
    ),
    "query and key are exchanged in an export": Mutation(
        "ptm/interop/hf/families/bert.py",
        '            "attention.self.query",\n            "attention.self.key",\n',
        '            "attention.self.key",\n            "attention.self.query",\n',
        ("tests/integration/parity -k bert",),
    ),
    "the rows of a mixture repeat with its block": Mutation(
        "ptm/data/mixture.py",
        "return sources, block * self._rows[sources] + self._number[place]",
        "return sources, self._number[place]",
        ("tests/unit/data/test_mixture.py",),
    ),
    "sources are drawn by weight without regard to due times": Mutation(
        "ptm/data/mixture.py",
        'order = np.argsort((2 * number + 1) / self._rows[source], kind="stable")',
        "order = np.arange(source.size)",
        ("tests/unit/data/test_mixture.py -k stretch",),
    ),
    "sources with equal texts are masked alike": Mutation(
        "ptm/loading/mixed.py",
        "replace(placement, example=placement.example + source * _EXAMPLES_PER_SOURCE)",
        "placement",
        ("tests/unit/loading/test_mixed.py -k equal_texts",),
    ),
    "sources with equal texts have one order": Mutation(
        "ptm/loading/rows.py",
        "if source != UNNAMED and split == TRAIN:",
        "if False:",
        ("tests/unit/loading/test_mixed.py -k equal_texts",),
    ),
    "an epoch of repeat ends as that of stop": Mutation(
        "ptm/loading/mixed.py",
        'self._counted = min if exhaustion == "repeat" else max',
        "self._counted = max",
        ("tests/unit/loading/test_mixed.py -k epoch_ends",),
    ),
    "the order of the recipe changes the rows of a mixture": Mutation(
        "ptm/loading/mixed.py",
        "self._sources = dict(sorted(sources.items()))",
        "self._sources = dict(sources)",
        ("tests/unit/loading/test_mixed.py -k order_of_the_mapping",),
    ),
    "the loss of a mixture ignores the weights": Mutation(
        "ptm/engines/metric_sums.py",
        "share * value\n            for share, value in zip",
        "value / len(values)\n            for share, value in zip",
        ("tests/integration/training/test_mixtures.py -k weighted_by",),
    ),
    "the perplexity of a mixture is a mean of perplexities": Mutation(
        "ptm/engines/metric_sums.py",
        "    return found | _perplexity(found, objective)\n\n\ndef _perplexity(",
        "    return found\n\n\ndef _perplexity(",
        ("tests/integration/training/test_mixtures.py -k weighted_by",),
    ),
    "a training continues with another store of a source": Mutation(
        "ptm/loading/mixed.py",
        "stores = {name: rows.fingerprint for name, rows in self._sources.items()}",
        "stores = list(self._sources)",
        ("tests/integration/training/test_mixtures.py -k another_store",),
    ),
    "the ends of long documents fill no row in the report of a corpus": Mutation(
        "ptm/runs/corpus/lengths.py",
        "np.add.at(histogram, rest[rest > 0], self.counts[rest > 0])",
        "pass",
        ("tests/unit/runs/corpus/test_lengths.py -k packing",),
    ),
    "a text of the corpus is not escaped on its page": Mutation(
        "ptm/runs/corpus/charts.py",
        "html.escape(cell.text)",
        "cell.text",
        ("tests/unit/runs/corpus/test_page.py -k escaped",),
    ),
    "the tokens that an objective cuts off are not counted": Mutation(
        "ptm/runs/corpus/findings.py",
        "return store.info.tokens - kept",
        "return 0",
        ("tests/unit/runs/corpus/test_findings.py -k cut_are_warned",),
    ),
    "the softmax of a window is over all cells of its row": Mutation(
        "ptm/nn/answer_spans.py",
        "own = position < cells.lengths[:, None]",
        "own = position < cells.lengths[:, None].clamp(min=logits.shape[1])",
        ("tests/unit/components/objectives/test_extraction.py -k equal_those_of_transformers",),
    ),
    "windows of a context do not overlap": Mutation(
        "ptm/data/question_windows.py",
        "step = room - stride",
        "step = room",
        ("tests/unit/components/objectives/test_extraction.py -k windows_are",),
    ),
    "an answer is its first occurrence": Mutation(
        "ptm/text/questions.py",
        "found = _nearest(context, text, max(stated, 0))",
        "found = context.find(text)",
        ("tests/unit/text/test_questions.py -k nearest",),
    ),
    "an answer of one window counts, not the best of all": Mutation(
        "ptm/components/objectives/extraction.py",
        "-score, examples.questions",
        "score, examples.questions",
        ("tests/unit/components/objectives/test_extraction.py -k all_windows",),
    ),
    "no answer has the score of the last window": Mutation(
        "ptm/components/objectives/extraction.py",
        "np.minimum.reduceat(",
        "np.maximum.reduceat(",
        ("tests/unit/components/objectives/test_extraction.py -k threshold",),
    ),
    "characters of a token include the white space after it": Mutation(
        "ptm/store/texts.py",
        "ends = np.maximum(before[limits], starts)",
        "ends = np.maximum(limits, starts)",
        ("tests/unit/store/test_question_store.py -k characters",),
    ),
    "CMRC's F1 is that of a subsequence": Mutation(
        "ptm/components/objectives/scores/cmrc_scores.py",
        "if one == other else 0)",
        "if one == other else max(row[-1], above[column + 1]))",
        ("tests/unit/components/objectives/test_answer_scores.py -k segments",),
    ),
    "every store of a mixture is made again": Mutation(
        "ptm/store/preprocess.py",
        "        return False\n    return True\n\n\ndef _encode_all",
        "        return False\n    return False\n\n\ndef _encode_all",
        ("tests/unit/cli/test_preprocess_mixture.py",),
    ),
    "a damaged store of a source is kept": Mutation(
        "ptm/store/preprocess.py",
        "        TokenStore.open(store).verify()\n    except UserError:",
        "    except UserError:",
        ("tests/unit/cli/test_preprocess_mixture.py",),
    ),
}


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutations to run (default: all)")
    parser.add_argument("--list", action="store_true", help="print the names and exit")
    parsed = parser.parse_args(words)
    if parsed.list:
        print(*MUTATIONS, sep="\n")
        return 0
    survivors = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "ptm"
        _git("worktree", "add", "--quiet", "--detach", str(tree), "HEAD")
        shared = PROJECT.parent / "shared"
        if shared.is_dir():
            (Path(folder) / "shared").symlink_to(shared)
        try:
            for name in parsed.names or MUTATIONS:
                began = time.monotonic()
                caught = noticed(MUTATIONS[name], tree)
                verdict = "caught" if caught else "SURVIVED"
                print(f"{verdict:<9}{time.monotonic() - began:5.0f} s  {name}", flush=True)
                survivors += [] if caught else [name]
        finally:
            _git("worktree", "remove", "--force", str(tree))
    return 1 if survivors else 0


def noticed(mutation: Mutation, tree: Path) -> bool:
    """Whether a test of the mutation fails in the worktree `tree` after the replacement."""
    path = tree / mutation.path
    original = path.read_text(encoding="utf-8")
    if original.count(mutation.before) != 1:
        raise SystemExit(f"{mutation.path} must contain this text once: {mutation.before}")
    path.write_text(original.replace(mutation.before, mutation.after), encoding="utf-8")
    try:
        return any(_failed(words, tree) for words in mutation.tests)
    finally:
        path.write_text(original, encoding="utf-8")


def _failed(words: str, tree: Path) -> bool:
    """Whether a test fails. Exits if pytest cannot run the tests, which is no failure of a test."""
    where, _, keyword = words.partition(" -k ")
    select = ["-k", keyword] if keyword else []
    command = [sys.executable, "-m", "pytest", "-x", "-m", "not slow", where, *select]
    done = subprocess.run(
        command,
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        output = (done.stdout + done.stderr)[-3000:]
        raise SystemExit(f"pytest {words} could not run the tests:\n{output}")
    return done.returncode == 1


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=PROJECT, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
