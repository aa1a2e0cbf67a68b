"""Recipes of UER-py's and TencentPretrain's command lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, UserError
from ptm.recipe import load_recipe
from ptm.translate.steps import Translation
from ptm.translate.translate import translate
from tests.support.uer_commands import UerCommands, skip_without_component, uer_commands

_VOCAB = "--vocab_path v.txt"


def _translated(text: str) -> Translation:
    return translate(text, recipe_path="r.yaml")


def _data(text: str) -> dict[str, Any]:
    return _translated(text).recipes[0].draft.data


def _at(data: dict[str, Any], key: str) -> Any:
    value: Any = data
    for name in key.split("."):
        value = value[name]
    return value


@pytest.mark.parametrize("commands", uer_commands(), ids=lambda one: one.name)
def test_lines_of_the_documentation(
    commands: UerCommands, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    skip_without_component(commands.name)
    translation = _translated(commands.text)
    recipe = translation.recipes[0]
    found = {key: _at(recipe.draft.data, key) for key in commands.expected}
    assert found == commands.expected
    assert not translation.notes
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.draft.yaml(), encoding="utf-8")
    assert load_recipe(str(path)) == recipe.draft.validated()
    assert main(["validate", str(path)]) == EXIT_DONE
    assert ": valid" in capsys.readouterr().out


def test_all_given_command_lines_translate(project: Path) -> None:
    given = project.parent / "shared" / "commands_of_others.json"
    if not given.exists():
        pytest.skip(f"{given} does not exist")
    for entry in json.loads(given.read_text(encoding="utf-8")):
        translation = _translated(" && ".join(entry["lines"]))
        trainings = sum("pretrain.py" in line and "Node-1" not in line for line in entry["lines"])
        assert len(translation.recipes) == trainings
        assert not translation.notes


def test_two_trainings_are_two_recipes_of_one_store() -> None:
    line = f"python3 pretrain.py {_VOCAB} --output_model_path m/a.bin --config_path"
    text = (
        f"python3 preprocess.py --corpus_path c.txt {_VOCAB} --target albert\n"
        f"{line} models/albert/base_config.json --target albert\n"
        f"{line} models/albert/large_config.json --target albert"
    )
    translation = _translated(text)
    assert [recipe.path for recipe in translation.recipes] == ["r.yaml", "r-2.yaml"]
    names = [recipe.draft.data["name"] for recipe in translation.recipes]
    assert names == ["a", "a-2"]
    assert translation.commands == [
        "ptm validate r.yaml",
        "ptm preprocess r.yaml",
        "ptm train r.yaml",
        "ptm export m/a m/a-uer --to uer",
        "ptm validate r-2.yaml",
        "ptm train r-2.yaml",
        "ptm export m/a-2 m/a-2-uer --to uer",
    ]


def test_a_second_stage_starts_from_the_run_of_the_first() -> None:
    text = (
        f"python3 preprocess.py --corpus_path c.txt {_VOCAB} --seq_length 128 --target bert\n"
        f"python3 pretrain.py {_VOCAB} --output_model_path m/a.bin --target bert\n"
        f"python3 preprocess.py --corpus_path c.txt {_VOCAB} --seq_length 512 --target bert\n"
        f"mv m/a.bin-100000 m/first.bin\n"
        f"python3 pretrain.py {_VOCAB} --output_model_path m/b.bin --target bert "
        "--pretrained_model_path m/first.bin"
    )
    first, second = (recipe.draft.data for recipe in _translated(text).recipes)
    assert second["init_from"] == f"{first['runs_dir']}/{first['name']}" == "m/a"
    assert [data["data"]["sequence_length"] for data in (first, second)] == [128, 512]
    assert [data["data"]["corpus"] for data in (first, second)] == ["c.txt", "c.txt"]


@pytest.mark.parametrize(("moved", "is_listed"), [("m/a.bin-20", False), ("x.bin", True)])
def test_a_moved_model_is_listed_only_if_it_is_not_followed(moved: str, is_listed: bool) -> None:
    text = (
        f"python3 pretrain.py {_VOCAB} --output_model_path m/a.bin --target mlm\n"
        f"mv {moved} m/base.bin"
    )
    listed = [written for written, _ in _translated(text).notes]
    assert listed == ([f"mv {moved} m/base.bin"] if is_listed else [])


@pytest.mark.parametrize(
    ("output", "name"), [("模型/输出.bin", "model"), ("m/a b.bin", "a-b"), ("m/模a.bin", "a")]
)
def test_a_name_that_is_not_ascii_is_replaced_and_listed(output: str, name: str) -> None:
    line = f"python3 pretrain.py {_VOCAB} --target mlm --output_model_path"
    translation = _translated(f"{line} '{output}'")
    draft = translation.recipes[0].draft
    stem = Path(output).stem
    assert draft.data["name"] == name
    assert draft.comments["name"] == f'--output_model_path; replaces "{stem}"'
    assert [written for written, _ in translation.notes] == [
        f"the name {stem} of --output_model_path"
    ]
    assert not _translated(f"{line} m/a_1.b-c.bin").notes


def test_another_corpus_in_the_same_dataset_path_gets_its_own_store() -> None:
    text = "\n".join(
        f"python3 preprocess.py --corpus_path {name}.txt {_VOCAB} --target lm\n"
        f"python3 pretrain.py {_VOCAB} --target lm --mask causal --output_model_path m/{name}.bin"
        for name in ("a", "b")
    )
    stores = [recipe.draft.data["data"]["store"] for recipe in _translated(text).recipes]
    assert stores == ["dataset", "dataset-2"]


def test_word_starts_need_a_store_of_their_own() -> None:
    text = "\n".join(
        f"python3 preprocess.py --corpus_path c.txt {_VOCAB} --target mlm {masking}\n"
        f"python3 pretrain.py {_VOCAB} --target mlm --output_model_path m/{name}.bin"
        for name, masking in (("a", ""), ("b", "--whole_word_masking"))
    )
    translation = _translated(text)
    stores = [recipe.draft.data["data"]["store"] for recipe in translation.recipes]
    assert stores == ["dataset", "dataset-2"]
    assert "ptm preprocess r-2.yaml" in translation.commands


def test_an_import_and_a_run_of_the_same_path_have_two_folders() -> None:
    path = "m/a.bin"
    translation = _translated(
        f"python3 pretrain.py {_VOCAB} --target mlm --pretrained_model_path {path} "
        f"--output_model_path {path}"
    )
    data = translation.recipes[0].draft.data
    assert f"{data['runs_dir']}/{data['name']}" == "m/a"
    assert data["init_from"] == "m/a-imported"
    assert translation.commands[0].startswith("ptm import m/a.bin m/a-imported --from uer")


def test_hosts_are_one_recipe_and_a_hostfile() -> None:
    (entry,) = [one for one in uer_commands() if one.name == "bert on three hosts"]
    translation = _translated("\n".join(entry.lines))
    (recipe,) = translation.recipes
    assert recipe.hostfile == "r.hostfile"
    assert recipe.hostfile_text is not None
    hosts = [line for line in recipe.hostfile_text.splitlines() if not line.startswith("#")]
    assert hosts == ["9.73.138.133 slots=8", "node-1 slots=8", "node-2 slots=8"]
    assert "ptm launch --hostfile r.hostfile --master-port 12345 r.yaml" in translation.commands


def test_one_line_of_two_hosts_names_the_other_host() -> None:
    line = (
        f"python3 pretrain.py {_VOCAB} --target bert --world_size 16 --gpu_ranks 0 1 2 3 4 5 6 7 "
        "--master_ip tcp://10.0.0.1:9999"
    )
    text = _translated(line).recipes[0].hostfile_text
    assert text is not None
    assert text.splitlines()[1:] == ["10.0.0.1 slots=8", "node-1 slots=8"]


def test_a_contradiction_between_hosts_is_noted() -> None:
    text = "\n".join(
        f"Node-{node} : python3 pretrain.py {_VOCAB} --target bert --world_size 2 "
        f"--gpu_ranks {node} --batch_size {batch} --master_ip tcp://h:1"
        for node, batch in ((0, 8), (1, 16))
    )
    translation = _translated(text)
    assert translation.recipes[0].draft.data["train"]["global_batch_size"] == 16
    assert translation.notes == [
        (
            "--batch_size 16",
            "the first host has --batch_size 8, and one recipe holds for all hosts",
        )
    ]


@pytest.mark.parametrize(
    ("options", "prefix", "command"),
    [
        ("", "", "ptm train r.yaml"),
        ("--gpu_ranks 0", "", "ptm train r.yaml"),
        ("--gpu_ranks 3", "", "CUDA_VISIBLE_DEVICES=3 ptm train r.yaml"),
        ("--world_size 2 --gpu_ranks 0 1", "", "ptm launch --num-gpus 2 r.yaml"),
        (
            "--world_size 2 --gpu_ranks 0 1",
            "CUDA_VISIBLE_DEVICES=1,5 ",
            "CUDA_VISIBLE_DEVICES=1,5 ptm launch --num-gpus 2 r.yaml",
        ),
    ],
)
def test_the_command_that_trains(options: str, prefix: str, command: str) -> None:
    text = f"{prefix}python3 pretrain.py {_VOCAB} --target bert {options}"
    assert command in _translated(text).commands


def test_rows_per_step_are_those_of_all_ranks() -> None:
    text = (
        f"python3 pretrain.py {_VOCAB} --target bert --world_size 4 --gpu_ranks 0 1 2 3 "
        "--batch_size 6 --accumulation_steps 3"
    )
    train = _data(text)["train"]
    assert (train["global_batch_size"], train["micro_batch_size"]) == (72, 6)


def test_defaults_are_stated_where_they_differ_from_ours() -> None:
    data = _data(f"python3 pretrain.py {_VOCAB} --target bert")
    assert data["optimizer"] == {
        "type": "adamw",
        "learning_rate": 2e-5,
        "epsilon": 1e-6,
        "weight_decay": 0.01,
    }
    assert data["schedule"] == {"type": "linear", "warmup": 0.1}
    assert data["train"]["gradient_clipping"] == 0.0
    assert data["data"]["held_out"] == 0.0
    assert data["data"]["packing"] is False
    assert data["checkpoint"] == {"every": 10_000, "keep_every": 10_000}


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ("--scheduler cosine_with_restarts", "schedule.type", "cosine"),
        ("--scheduler constant_with_warmup", "schedule.warmup", 0.1),
        ("--scheduler tri_stage --lr_decay 0.3", "schedule.decay", 0.3),
        ("--optimizer adafactor", "engine.deepspeed", "zero0"),
        ("--optimizer adafactor", "optimizer.relative_step", False),
        ("--beta1 0.8", "optimizer.beta1", 0.8),
        ("--fp16 --fp16_opt_level O2", "engine.precision", "fp16"),
        ("--fp16 --fp16_opt_level O0", "engine.precision", "fp32"),
        ("--backend gloo", "engine.backend", "gloo"),
        ("--deep_init", "model.init.residual_scaling", True),
        ("--warmup 0.3", "schedule.warmup", 0.3),
        ("--do_lower_case false", "tokenizer.lowercase", False),
        ("--tokenizer char", "tokenizer.type", "char"),
        ("--tokenizer bpe --merges_path m.txt", "tokenizer.merges", "m.txt"),
        ("--spm_model_path s.model", "tokenizer.model", "s.model"),
        ("--dropout 0.2", "model.dropout", 0.2),
        ("--layernorm_positioning pre", "model.encoder.norm_position", "pre"),
        ("--feed_forward gated", "model.encoder.feed_forward", "gated"),
        ("--layernorm rms", "model.encoder.norm_epsilon", 1e-6),
        ("--rotary_position_embedding", "model.encoder.rotary.theta", 10000.0),
        ("--remove_attention_scale", "model.encoder.attention_scale", False),
        ("--remove_transformer_bias", "model.encoder.bias", False),
        ("--max_seq_length 600", "model.embedding.positions", 600),
        ("--layers_num 3", "model.encoder.layers", 3),
        (
            "--encoder gru --bidirectional --embedding word --config_path models/rnn_config.json",
            "model.encoder.bidirectional",
            True,
        ),
        ("--relative_position_embedding", "model.encoder.position_bias.max_distance", 128),
        ("--pipeline_model_parallel_size 2 --world_size 4", "train.global_batch_size", 64),
        ("--pipeline_model_parallel_size 2 --world_size 4", "engine.deepspeed", "pipeline"),
    ],
)
def test_options_of_pretrain(options: str, key: str, value: object) -> None:
    draft = _translated(f"python3 pretrain.py {_VOCAB} --target mlm {options}").recipes[0].draft
    assert _at(draft.data, key) == value
    draft.validated()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("--instances_buffer_size 5", "permutation of the whole store"),
        ("--log_path a.log", "metrics.jsonl"),
        ("--use_lora", "write the block `adapter`"),
        ("--image_height 3", "out of scope"),
        ("--pooling max", "it has no effect on mlm"),
        ("--labels_num 3", "it has no effect on mlm"),
        ("--tgt_embedding word", "mlm has no decoder"),
        ("--tgt_vocab_path w.txt", "mlm has no second tokenizer"),
        ("--decoder transformer", "mlm has no decoder"),
        ("--lr_decay 0.1", "it is an option of --scheduler tri_stage"),
        ("--has_lmtarget_bias", "the output of mlm always has a bias"),
    ],
)
def test_what_has_no_counterpart_is_listed(written: str, reason: str) -> None:
    translation = _translated(f"python3 pretrain.py {_VOCAB} --target mlm {written}")
    ((found, why),) = translation.notes
    assert found == written
    assert reason in why


def test_an_unknown_key_of_a_configuration_is_listed(tmp_path: Path) -> None:
    config = {"layers_num": 2, "hidden_size": 8, "emb_size": 8, "heads_num": 2}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**config, "feedforward_size": 8, "colour": "red"}))
    text = f"python3 pretrain.py {_VOCAB} --target mlm --config_path {path}"
    assert _translated(text).notes == [(f"colour in {path}", "the key is not an option of UER-py")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"python3 pretrain.py {_VOCAB} --target lm", "visibility"),
        (f"python3 pretrain.py {_VOCAB} --target bert mlm", "mixes targets of two versions"),
        (f"python3 pretrain.py {_VOCAB} --pipeline_model 3 --world 4", "3: 4 ranks (--world_size)"),
        (f"python3 pretrain.py {_VOCAB} --pipeline_model 0", "do not divide evenly"),
        (f"python3 pretrain.py {_VOCAB} --target cls", "--labels_num is missing"),
        (f"python3 pretrain.py {_VOCAB} --encoder crnn", "--encoder crnn has no counterpart"),
        (f"python3 pretrain.py {_VOCAB} --data_processor vit", "vit has no counterpart"),
        (f"python3 pretrain.py {_VOCAB} --embedding patch pos", '"patch" has no counterpart'),
        (f"python3 pretrain.py {_VOCAB} --tokenizer image", "--tokenizer image has no counterpart"),
        (f"python3 pretrain.py {_VOCAB} --master_ip here --target mlm", "is not tcp://HOST:PORT"),
        (f"python3 pretrain.py {_VOCAB} --world_size 0 --target mlm", "is not a positive number"),
        (f"python3 pretrain.py {_VOCAB} --gpu_ranks 0 1 --target mlm", "names 2 ranks"),
        (f"python3 pretrain.py {_VOCAB} --deepspeed --deepspeed_config d.json", "d.json"),
        (f"python3 pretrain.py {_VOCAB} --batch_size -1 --target mlm", "global_batch_size"),
        ("python3 pretrain.py --tokenizer xlmroberta --target mlm", "needs --spm_model_path"),
        (
            "python3 preprocess.py --target bert && python3 pretrain.py --target mlm",
            "pretrain.py has --target mlm, but preprocess.py has --target bert",
        ),
        ("python3 pretrian.py", "Did you mean pretrain.py?"),
        ("ls", "there is no command line of a Python script"),
        ("", "there is no command line of a Python script"),
    ],
)
def test_what_cannot_be_translated_is_an_error(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        _translated(text)
    assert message in str(caught.value)


def test_a_preprocess_line_alone_has_the_defaults_of_pretrain() -> None:
    translation = _translated(f"python3 preprocess.py --corpus_path c.txt {_VOCAB} --target mlm")
    assert translation.recipes[0].draft.data["train"]["steps"] == 100_000
    assert translation.commands == ["ptm validate r.yaml", "ptm preprocess r.yaml"]


def test_placeholders_are_marked() -> None:
    text = _translated("python3 pretrain.py --target mlm").recipes[0].draft.yaml()
    assert "corpora/corpus.txt  # a placeholder: no line of preprocess.py names a corpus" in text
    assert "vocab.txt  # a placeholder: no line has --vocab_path" in text


@pytest.mark.parametrize(
    "output", ["模型/输出.bin", "1e5.bin", "true.bin", "a b/c: d.bin", "models/x#y.bin"]
)
def test_names_and_paths_are_quoted_where_needed(output: str, tmp_path: Path) -> None:
    text = f"python3 pretrain.py --vocab_path '词 表: #1.txt' --output_model_path '{output}'"
    draft = _translated(text).recipes[0].draft
    path = tmp_path / "recipe.yaml"
    path.write_text(draft.yaml(), encoding="utf-8")
    recipe = load_recipe(str(path))
    assert recipe == draft.validated()
    assert recipe.tokenizer.source == "词 表: #1.txt"
