"""The command: its verbs, its exit codes, and what a signal does to it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import modelloop
from modelloop.cli import main
from modelloop.testing.servers import alive, wait_until

SOURCES = str(Path(modelloop.__file__).parents[1])
VERBS = [name for name, verb in main.commands.items() if not verb.hidden]

# Stands for podman: says that it runs, and ends when the file `release` is there.
TOOL = """#!/bin/bash
exec 2>/dev/null  # where bash reports a `sleep` that a signal ended
trap 'touch terminated; until test -e release; do sleep 0.02; done; touch ended; exit 1' TERM
trap '' INT
touch started
while true; do sleep 0.02; done
"""


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "modelloop", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCES, "COLUMNS": "80"},
        capture_output=True,
        text=True,
    )


def test_the_verbs_are_listed_in_the_order_of_a_models_life_each_with_a_text(tmp_path):
    done = run(tmp_path, "--help")

    assert (done.returncode, done.stderr) == (0, "")
    listed = dict(re.findall(r"^  ([a-z-]+)  +(\S.*)$", done.stdout, re.MULTILINE))
    assert [name for name in listed if name in VERBS] == VERBS
    assert "..." not in done.stdout.partition("\nVerbs:")[2]  # no text is cut off
    life = ["new-data", "train", "gate", "package", "canary", "promote", "serve", "monitor"]
    assert [name for name in VERBS if name in life] == life
    assert not {"prove", "notebook"} & {*listed}  # which only images call


def test_the_list_of_verbs_imports_nothing_of_them(tmp_path):
    code = (
        "import sys; from modelloop.cli import main; main(['--help'], standalone_mode=False)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {*done.stdout.splitlines()[-1].split()}
    assert "click" in imported
    assert not {"pandas", "numpy", "sklearn", "mlflow", "kfp", "requests"} & imported


@pytest.mark.parametrize("verb", main.commands.values(), ids=lambda verb: verb.name)
def test_every_verb_says_what_it_does_outside_of_a_repository(verb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [verb.name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith(f"Usage: main {verb.name} [OPTIONS]")
    assert re.search(r"(?s)\n\n  [A-Z].*?\.\n", result.output)
    for option in verb.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


def test_a_repositorys_makefile_calls_verbs_that_there_are(project):
    makefile = (project.root / "Makefile").read_text(encoding="utf-8")
    called = {*re.findall(r"(?:\$\(MODELLOOP\)|-m modelloop) ([a-z-]+)", makefile)}
    assert len(called) > 20
    assert called <= {*VERBS}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Error: No such command 'trian'"),
        (["--verbose", "train"], "Error: No such option '--verbose'"),
        (["train", "--fast"], "Error: No such option '--fast'"),
        (["labels"], "Error: Missing argument 'FILE'"),
        (["image", "database"], "'database' is not one of 'train', 'app', 'notebook'"),
        (["--project", "nowhere", "train"], "Directory 'nowhere' does not exist"),
    ],
)
def test_a_wrong_call_exits_with_2_and_says_why(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_wrong_call_has_its_exit_code_in_a_shell_too(tmp_path):
    done = run(tmp_path, "trian")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_error_that_a_person_can_mend_is_one_line_and_exits_with_1(tmp_path):
    done = run(tmp_path, "gate")
    assert (done.returncode, done.stdout) == (1, "")
    message = "is no model repository: no pyproject.toml with [tool.modelloop] there or above"
    assert done.stderr == f"error: {tmp_path} {message}\n"


def test_a_repository_can_be_named_from_anywhere(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    result = CliRunner().invoke(main, ["--project", str(project.root / "data"), "predict"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path}/contract.json")


def test_after_a_verb_signals_are_handled_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    CliRunner().invoke(main, ["gate"])
    assert signal.getsignal(signal.SIGTERM) is before


@contextmanager
def building(root: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`modelloop image`, as it waits for TOOL; both are gone afterwards."""
    tool = folder / "podman"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "modelloop", "--project", root, "image"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": SOURCES, "CONTAINER_TOOL": str(tool)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that its process group is all that it started
    )
    try:
        wait_until((folder / "started").exists, "the tool runs", 30)
        yield process
    finally:
        if alive(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def signal_all(process: subprocess.Popen[str], number: int) -> None:
    os.killpg(process.pid, number)


def signal_one(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)


@pytest.mark.parametrize(
    ("number", "send", "code", "message"),
    [
        (signal.SIGINT, signal_one, 130, "interrupted\n"),
        (signal.SIGINT, signal_all, 130, "interrupted\n"),  # as Ctrl-C at a terminal
        (signal.SIGTERM, signal_one, 143, ""),
        (signal.SIGTERM, signal_all, 143, ""),
    ],
)
def test_a_signal_ends_a_verb_with_what_it_started(
    project,
    tmp_path,
    number: int,
    send: Callable[[subprocess.Popen[str], int], None],
    code: int,
    message: str,
):
    with building(project.root, tmp_path) as process:
        send(process, number)
        wait_until((tmp_path / "terminated").exists, "the tool is terminated")
        (tmp_path / "release").touch()

        _, stderr = process.communicate(timeout=30)

        assert (process.returncode, stderr) == (code, message)
        assert (tmp_path / "ended").exists()
        assert not alive(process.pid)


def test_a_second_signal_leaves_nothing_running_either(project, tmp_path):
    with building(project.root, tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        wait_until((tmp_path / "terminated").exists, "the tool is terminated")
        process.send_signal(signal.SIGTERM)
        (tmp_path / "release").touch()

        process.communicate(timeout=30)

        assert process.returncode == 143
        assert (tmp_path / "ended").exists()
        assert not alive(process.pid)
