"""`ptm translate` as a command: what it prints, writes and rejects."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from ptm.cli import main
from ptm.errors import EXIT_DONE, EXIT_USER
from ptm.recipe import load_recipe

_LINE = "python3 pretrain.py --vocab_path v.txt --target mlm --output_model_path m/a.bin"
_HOSTS = "\n".join(
    f"Node-{node} : {_LINE} --world_size 2 --gpu_ranks {node} --master_ip tcp://h:1"
    for node in (0, 1)
)


def test_the_page_has_recipe_commands_and_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", f"{_LINE} --log_path a.log"]) == EXIT_DONE
    out = capsys.readouterr().out
    recipe, commands, rest = out.split("\n\n")
    assert recipe.startswith("# recipe.yaml\n# Translated from command lines of UER-py")
    assert commands.splitlines()[:2] == ["# Commands", "ptm validate recipe.yaml"]
    assert rest.startswith("# No counterpart\n# --log_path a.log: ")


def test_the_page_is_a_recipe_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", _LINE]) == EXIT_DONE
    recipe = capsys.readouterr().out.partition("\n\n# Commands")[0]
    path = tmp_path / "r.yaml"
    path.write_text(recipe)
    assert load_recipe(str(path)).objective.type == "mlm"


@pytest.mark.parametrize("origin", ["file", "stdin"])
def test_lines_of_a_file_or_of_stdin(
    origin: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"\ufeff# 训练\r\n{_LINE} \\\r\n --seed 5\r\n"
    path = tmp_path / "my lines.sh"
    path.write_bytes(text.encode("utf-8"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(text.removeprefix("\ufeff")))
    assert main(["translate", "-" if origin == "stdin" else str(path)]) == EXIT_DONE
    assert "seed: 5  # --seed" in capsys.readouterr().out


def test_one_long_line_is_no_file_name(capsys: pytest.CaptureFixture[str]) -> None:
    line = _LINE + " --seed 7" * 40
    assert main(["translate", line]) == EXIT_DONE
    assert "type: mlm" in capsys.readouterr().out


def test_out_writes_recipes_and_hostfile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.yaml"
    assert main(["translate", f"{_HOSTS}\n{_LINE}", "--out", str(out)]) == EXIT_DONE
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r-2.yaml", "r.hostfile", "r.yaml"]
    assert load_recipe(str(out)).train.global_batch_size == 64
    assert (tmp_path / "r.hostfile").read_text().splitlines()[1:] == ["h slots=1", "node-1 slots=1"]
    printed = capsys.readouterr().out
    assert f"# {out}: written" in printed
    assert f"ptm launch --hostfile {tmp_path}/r.hostfile --master-port 1 {out}" in printed


def test_an_existing_file_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.hostfile").write_text("mine")
    out = tmp_path / "r.yaml"
    assert main(["translate", _HOSTS, "--out", str(out)]) == EXIT_USER
    assert capsys.readouterr().err == (
        f"ptm: {tmp_path}/r.hostfile: already exists. Give another name or remove it.\n"
    )
    assert not out.exists()


def test_out_in_an_absent_folder_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", _LINE, "--out", str(tmp_path / "a/r.yaml")]) == EXIT_USER
    assert f"{tmp_path}/a is not a folder" in capsys.readouterr().err


def test_out_without_a_training_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "python3 scripts/diff_vocab.py --vocab_1 a --vocab_2 b"
    assert main(["translate", line, "--out", str(tmp_path / "r.yaml")]) == EXIT_USER
    assert "there is no recipe to write" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_json_has_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", f"{_HOSTS} --log_path a.log", "--json"]) == EXIT_DONE
    found = json.loads(capsys.readouterr().out)
    assert found["recipes"][0]["recipe"]["objective"]["type"] == "mlm"
    assert "node-1 slots=1" in found["recipes"][0]["hosts"]
    assert found["commands"][0] == "ptm validate recipe.yaml"
    assert found["no_counterpart"][0]["option"] == "--log_path a.log"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("absent.sh", "absent.sh: cannot be read"),
        ("", "no command lines are given"),
        (" \n", "no command lines are given"),
        ("python3 pretrain.py --batch_size abc", 'ptm: pretrain.py: --batch_size: "abc"'),
        (
            "mkdir m && python3 pretrain.py --batch_size abc",
            'ptm: command 2, pretrain.py: --batch_size: "abc" is not an integer',
        ),
        (f"{_LINE}\npython3 pretrain.py --master_ip h", "command 2, pretrain.py: --master_ip"),
        (f"{_LINE}; python3 train.py", "command 2, train.py is not known"),
        ("python3 pretrain.py --vocab 'v.txt", "is not closed"),
        ("python3 train.py", "train.py is not known"),
        ("python3 pretrain.py --config_path c.json", "c.json: does not exist"),
        ("python3 pretrain.py --lerning_rate 1", "Did you mean --learning_rate?"),
    ],
)
def test_bad_input_is_one_sentence(
    lines: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["translate", lines]) == EXIT_USER
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("ptm: ")
    assert error.count("\n") == 1


def test_a_file_that_is_not_text_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lines.sh"
    path.write_bytes(b"python3 \xff")
    assert main(["translate", str(path)]) == EXIT_USER
    assert "not valid UTF-8 at byte 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line", [_LINE, "python3 run_mlm.py --model_name_or_path bert-base-chinese --train_file a.txt"]
)
def test_no_library_of_training_is_loaded(line: str) -> None:
    code = (
        "import sys\nfrom ptm.cli import main\n"
        f"main(['translate', {line!r}])\n"
        "loaded = {'torch', 'deepspeed', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "sys.exit(str(sorted(loaded)) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
