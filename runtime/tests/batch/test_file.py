"""Files of any size are scored whole or not at all, and every row is accounted for."""

import csv
import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import modelloop
from modelloop import Project, UserError
from modelloop.batch import file, scoring
from modelloop.serving import client
from modelloop.table import chunks
from modelloop.testing import example_model

ROWS = 1000
CHUNK = 100
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(modelloop.__file__).parents[1])}
ENDINGS = [".csv", ".csv.gz", ".parquet"]
ALLOWED = "is refused; send a number from 0 to 10 kg, or null"
BAD = {0: ("11", f"mass: 11.0 {ALLOWED}"), 555: ("heavy", f"mass: 'heavy' {ALLOWED}")}


@pytest.fixture(scope="module")
def model(project: Project, example: Path) -> scoring.LocalModel:
    return scoring.LocalModel(project, example)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A CSV file with ROWS rows, of which BAD are refused."""
    path = tmp_path / "rows.csv"
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["id", "colour", "mass", "age", "note"])
        for i in range(ROWS):
            mass = BAD[i][0] if i in BAD else "" if i % 7 == 0 else f"{i % 10}.50"
            note = ["plain", 'a "quoted", one', "two\nlines", "NA", ""][i % 5]
            lines.writerow([f"{i:05}", ["red", "green"][i % 2], mass, i % 90, note])
    return path


def read(path: Path) -> pd.DataFrame:
    """A file with every column as it is written."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def as_kind(rows: Path, ending: str) -> Path:
    """The same rows in another kind of file, with types where it has them."""
    made = rows.with_name(f"given{ending}")
    if ending == ".parquet":
        table = pd.read_csv(rows, dtype={"id": str, "note": str}, keep_default_na=False)
        mass = pd.to_numeric(table["mass"], errors="coerce")
        table["mass"] = mass.where(table["mass"] != "heavy", -1.0)
        table.to_parquet(made, row_group_size=300)
    else:
        content = rows.read_bytes()
        made.write_bytes(gzip.compress(content) if ending == ".csv.gz" else content)
    return made


@pytest.mark.parametrize("into", ENDINGS)
@pytest.mark.parametrize("given", ENDINGS)
def test_every_valid_row_is_kept_with_its_answer_and_every_other_is_named(
    model, rows, tmp_path, given, into
):
    source, target = as_kind(rows, given), tmp_path / f"scores{into}"

    report = file.score(model, source, target, CHUNK)

    assert (report.rows, report.refused) == (ROWS, len(BAD))
    scores, before = read(target), read(source).drop([*BAD]).reset_index(drop=True)
    added = ["prediction", "model_version"]
    assert scores.columns.tolist() == [*before.columns, *added]
    expected = 640 / (100 - before["age"].astype(int))
    np.testing.assert_allclose(scores["prediction"].astype(float), expected, rtol=1e-6)
    assert set(scores["model_version"]) == {"3"}
    for name in ("id", "note", "colour"):
        assert scores[name].tolist() == before[name].tolist()
    if (given == ".parquet") == (into == ".parquet"):
        pd.testing.assert_frame_equal(scores[before.columns], before)
    elif into == ".parquet":
        assert scores["mass"].dtype == scores["age"].dtype == np.float64
        assert scores["mass"].isna().tolist() == (before["mass"] == "").tolist()

    refused = pd.read_csv(report.refusals)
    assert report.refusals == tmp_path / "scores.refused.csv"
    assert refused["row"].tolist() == [*BAD]
    if given != ".parquet":
        assert refused["reason"].tolist() == [reason for _, reason in BAD.values()]
    assert not (tmp_path / f"scores{into}.part").exists()


def test_a_classification_adds_its_probabilities(project, tmp_path, rows):
    folder = tmp_path / "classifier"
    folder.mkdir()
    example_model.make_classifier(folder)
    rows.write_text("mass,age,colour\n2.5,36,red\n")

    file.score(scoring.LocalModel(project, folder), rows, tmp_path / "scores.parquet")

    (found,) = pd.read_parquet(tmp_path / "scores.parquet").to_dict("records")
    probabilities = [found[f"probability_{name}"] for name in example_model.CLASSES]
    np.testing.assert_allclose(probabilities, example_model.CHANCES, rtol=1e-6)
    assert (found["prediction"], found["model_version"]) == ("low", "3")


def test_a_file_whose_rows_are_all_refused_gives_an_empty_one(model, tmp_path, rows):
    rows.write_text("mass,age,colour\n-1,36,red\n")

    report = file.score(model, rows, tmp_path / "scores.parquet")

    assert report.refused == 1
    assert len(pd.read_parquet(report.output)) == 0
    assert pd.read_csv(report.refusals)["row"].tolist() == [0]


# One process imports everything once; each run is a fork of it, made before any thread runs.
KILLED = """
import os, signal, sys
from pathlib import Path
from modelloop import Project
from modelloop.batch import file, scoring

class Dies(scoring.LocalModel):
    left = 4
    def score(self, rows):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score(rows)

for line in sys.stdin:
    root, folder, source, target = map(Path, line.rstrip("\\n").split("\\t"))
    if os.fork() == 0:
        file.score(Dies(Project.at(root), folder), source, target, {chunk})
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture(scope="module")
def kill_half_way(project: Project, example: Path) -> Iterator[Callable[[Path, Path], None]]:
    """Score a source until four chunks are done, and be killed as by `kill -9`."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(python(KILLED), env=ENVIRONMENT, text=True, **pipes) as runs:

        def killed(source: Path, target: Path) -> None:
            print(project.root, example, source, target, sep="\t", file=runs.stdin, flush=True)
            assert int(runs.stdout.readline()) == -signal.SIGKILL
            assert not target.exists()

        yield killed


def python(code: str, *arguments: Path) -> list[str | Path]:
    """The command that runs code in a process of its own."""
    return [sys.executable, "-c", code.format(chunk=CHUNK), *arguments]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_that_was_killed_is_resumed_and_ends_with_the_same_file(
    kill_half_way, model, rows, tmp_path, capsys, ending
):
    whole = file.score(model, rows, tmp_path / f"whole{ending}", CHUNK)
    target = tmp_path / f"scores{ending}"
    kill_half_way(rows, target)
    for name in ("blocks", "refused.csv"):  # as if killed while it wrote the fifth chunk
        with (tmp_path / f"scores{ending}.part" / name).open("ab") as kept:
            kept.write(b"half a")

    report = file.score(model, rows, target, CHUNK)

    assert "going on after 400 rows" in capsys.readouterr().err
    assert target.read_bytes() == whole.output.read_bytes()
    assert report.refusals.read_bytes() == whole.refusals.read_bytes()
    assert (report.rows, report.refused, report.psi) == (whole.rows, whole.refused, whole.psi)
    pd.testing.assert_frame_equal(report.bins, whole.bins)


@pytest.mark.parametrize(
    ("other", "reason"),
    [("input", "another input"), ("model", "another model version and contract")],
)
def test_a_checkpoint_of_another_job_is_not_used(
    kill_half_way, project, model, rows, tmp_path, capsys, other, reason
):
    target = tmp_path / "scores.csv"
    kill_half_way(rows, target)
    if other == "input":
        rows.write_text(rows.read_text().replace("red", "green"))
    else:
        contract = example_model.make(tmp_path)
        contract.model_copy(update={"version": "4"}).write(tmp_path)
        model = scoring.LocalModel(project, tmp_path)

    report = file.score(model, rows, target, CHUNK)

    assert f"beginning anew: the unfinished run has {reason}" in capsys.readouterr().err
    scores = read(target)
    assert len(scores) == report.rows - report.refused == ROWS - len(BAD)
    assert set(scores["model_version"]) == {model.contract.version}
    assert ("red" in set(scores["colour"])) == (other == "model")


def test_a_checkpoint_whose_files_were_cut_is_not_used(
    kill_half_way, model, rows, tmp_path, capsys
):
    target = tmp_path / "scores.csv"
    kill_half_way(rows, target)
    (tmp_path / "scores.csv.part" / "blocks").write_bytes(b"")

    file.score(model, rows, target, CHUNK)

    assert "no whole blocks" in capsys.readouterr().err
    assert len(read(target)) == ROWS - len(BAD)


class Fails(scoring.LocalModel):
    """Answers some tables, then none."""

    answers = 3

    def score(self, rows: pd.DataFrame) -> scoring.Scored:
        if not self.answers:
            raise client.ServerError("no answer")
        self.answers -= 1
        return super().score(rows)


def test_rows_that_were_scored_before_a_server_failed_are_kept(
    project, example, model, rows, tmp_path, capsys
):
    target = tmp_path / "scores.csv"
    with pytest.raises(client.ServerError, match="no answer\n300 rows are done and kept"):
        file.score(Fails(project, example), rows, target, CHUNK)
    assert not target.exists()

    report = file.score(model, rows, target, CHUNK)

    assert "going on after 300 rows" in capsys.readouterr().err
    assert len(read(target)) == report.rows - report.refused == ROWS - len(BAD)


def test_an_output_that_is_there_is_replaced_whole(model, rows, tmp_path):
    target, refusals = tmp_path / "scores.csv", tmp_path / "scores.refused.csv"
    target.write_text("old")
    refusals.write_text("old")
    rows.write_text("mass,age,colour\n2.5,36,red\n")

    file.score(model, rows, target)

    assert target.read_text().splitlines()[1].startswith("2.5,36,red,10")
    assert not refusals.exists()


class Doubled(scoring.LocalModel):
    """While it answers, the same command is started again."""

    def score(self, rows: pd.DataFrame) -> scoring.Scored:
        with pytest.raises(UserError, match="another run is writing it"):
            self.again()
        return super().score(rows)


def test_two_runs_do_not_write_one_file(project, example, model, rows, tmp_path):
    target = tmp_path / "scores.csv"
    doubled = Doubled(project, example)
    doubled.again = lambda: file.score(model, rows, target, CHUNK)

    file.score(doubled, rows, target, CHUNK)

    assert len(read(target)) == ROWS - len(BAD)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("mass,age\n1,2\n", "no column 'colour', which the model needs; .* has 'mass', 'age'"),
        ("mass,age,colour,prediction\n1,2,red,3\n", "columns 'prediction' of its own: rename"),
        ("mass,age,colour,age\n1,2,red,3\n", "more than one column is called 'age'"),
        ("mass,age,colour\n1,2,red\n1,2\n", "cannot be read: .*[Ee]xpected 3 columns, got 2"),
        ("mass,age,colour\n", "no rows"),
        ("", "the file is empty"),
    ],
)
def test_a_file_that_cannot_be_scored_is_an_error_and_leaves_no_output(
    model, rows, tmp_path, content, message
):
    rows.write_text(content)
    with pytest.raises(UserError, match=message):
        file.score(model, rows, tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_names_of_files_that_make_no_sense_are_errors(model, rows, tmp_path):
    for source, target, message in [
        (rows, rows, "are the same file"),
        (rows, tmp_path / "none" / "scores.csv", "no folder"),
        (rows, tmp_path / "scores.xlsx", r"must end in .csv, .csv.gz, .parquet, .pq"),
        (tmp_path / "gone.csv", tmp_path / "scores.csv", "gone.csv: cannot be read: No such file"),
        (tmp_path / "gone.parquet", tmp_path / "scores.csv", "gone.parquet: cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            file.score(model, source, target)


MEASURE = """
import sys
from pathlib import Path
from modelloop import Project
from modelloop.batch import file, scoring

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

root, folder, target, *sources = map(Path, sys.argv[1:])
model = scoring.LocalModel(Project.at(root), folder)
for source in sources:
    file.score(model, source, target, 2000)
    print(peak())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux reports the peak")
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_memory_does_not_grow_with_the_file(project, example, tmp_path, ending):
    files, note = [], "x" * 1000
    for n in (40_000, 140_000):  # rows of 1 kB
        files.append(tmp_path / f"{n}{ending}")
        if ending == ".csv":
            files[-1].write_text("mass,age,colour,note\n" + f"2.5,36,red,{note}\n" * n)
        else:  # in one row group
            columns = {"mass": 2.5, "age": 36, "colour": "red", "note": note}
            table = pa.table({name: pa.repeat(value, n) for name, value in columns.items()})
            pq.write_table(table, files[-1], compression="none", use_dictionary=False)

    command = python(MEASURE, project.root, example, tmp_path / f"o{ending}", *files)
    done = subprocess.run(command, env=ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True)
    small, large = map(float, done.stdout.split())

    assert large - small < 50  # MB; the file is larger by 100


def test_progress_says_rows_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 12.0])
    monkeypatch.setattr(file.time, "monotonic", lambda: next(clock))
    progress = file.Progress(1000)
    progress.show(1500, 0.3)
    progress.show(2200, 0.5)
    assert capsys.readouterr().err == "2,200 rows, 100 a second, 22 s left\n"


def test_a_long_line_and_bytes_that_are_no_text_are_errors(tmp_path):
    for content in (b"a,b\n1,\xff\n", b"a,b\n1," + b"x" * 2 * chunks.BUFFER + b"\n"):
        path = tmp_path / "rows.csv"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"rows.csv: cannot be read"):
            list(chunks.Source(path).chunks(10))
