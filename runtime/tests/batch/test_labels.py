"""Late labels find their request, and are counted once."""

from pathlib import Path

import pandas as pd
import pytest

from modelloop import UserError
from modelloop.batch import labels
from modelloop.serving import request_log
from modelloop.settings import Settings
from modelloop.testing import example_model
from modelloop.testing.servers import Server, running


def counter(server: Server, name: str) -> float:
    page = server.call("GET", "/metrics", port=server.metrics_port).text
    (line,) = [line for line in page.splitlines() if line.startswith(name + "{")]
    return float(line.split()[-1])


def predict(server: Server, puid: str, *ages: float) -> None:
    rows = [[1, age, "red"] for age in ages]
    message = {"data": {"names": example_model.NAMES, "ndarray": rows}, "meta": {"puid": puid}}
    assert server.predict(message).status == 200


def write(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.slow
def test_late_labels_are_counted_once_and_the_rest_is_reported(
    project, serve_python, example, tmp_path
):
    log = tmp_path / "requests"
    options = {"SERVE_WORKERS": 2, "REQUEST_LOG": log}
    with running(project, serve_python, example, tmp_path / "log", **options) as server:
        for i in range(10):
            predict(server, f"00{i}", 36)  # answered 10
        predict(server, "two", 36, 20)  # 10 and 8
        env = Settings(request_log=log, model_url=f"http://127.0.0.1:{server.port}")
        file = write(
            tmp_path / "labels.csv",
            "puid,row,truth",
            *[f"00{i},0,{10 + i}" for i in range(10)],
            "two,1,5",
            "two,2,5",
            "gone,0,1",
        )

        report = labels.post(env, file)
        assert (report.counted, report.unknown, report.earlier) == (11, 2, 0)
        assert counter(server, "model_feedback_total") == 11
        assert counter(server, "model_feedback_absolute_error_total") == sum(range(10)) + 3
        assert counter(server, "model_feedback_delay_seconds_count") == 11

        again = labels.post(env, file)
        assert (again.counted, again.unknown, again.earlier) == (0, 2, 11)
        assert counter(server, "model_feedback_total") == 11
        more = labels.post(env, write(tmp_path / "more.csv", "puid,row,truth", "two,0,10"))
        assert (more.counted, counter(server, "model_feedback_total")) == (1, 12)


@pytest.mark.slow
def test_the_log_holds_the_contracts_columns_and_nothing_else(
    project, serve_python, example, tmp_path
):
    log = tmp_path / "requests"
    with running(project, serve_python, example, tmp_path / "log", REQUEST_LOG=log) as server:
        message = {
            "jsonData": {"colour": "red", "age": 36, "mass": None},
            "meta": {"puid": "mine", "tags": {"customer": "secret"}, "routing": {"x": 1}},
        }
        server.predict(message, **{"Authorization": "Bearer secret"})
        server.predict({"jsonData": {"colour": "pink", "age": 36, "mass": 1}})  # refused
        (entry,) = request_log.entries(log)
        entry.pop("answered_at")
        assert entry == {
            "puid": "mine",
            "model_version": "3",
            "inputs": [[None, 36, "red"]],
            "outputs": [[10.0]],
        }


@pytest.mark.slow
def test_no_request_is_kept_without_a_folder_for_them(
    project, serve_python, example, tmp_path, monkeypatch
):
    monkeypatch.delenv("REQUEST_LOG", raising=False)
    monkeypatch.chdir(tmp_path)  # where the server would write, if anywhere
    with running(project, serve_python, example, tmp_path / "log") as server:
        predict(server, "one", 36)
        assert {path.name for path in tmp_path.iterdir()} == {"log"}
    with pytest.raises(UserError, match="REQUEST_LOG"):
        labels.post(Settings(), write(tmp_path / "labels.csv", "puid,truth", "one,1"))


def test_the_log_rotates_and_old_files_go(tmp_path, monkeypatch):
    monkeypatch.setattr(request_log, "MAX_BYTES", 1000)
    log = request_log.RequestLog(tmp_path, 0)
    for i in range(1000):
        log.write({"puid": str(i), "inputs": [[1, 2, 3]]})
    kept = [int(entry["puid"]) for entry in request_log.entries(tmp_path)]
    assert len({*tmp_path.iterdir()}) == 1 + request_log.KEPT
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 5 * 1000
    assert sorted(kept) == [*range(min(kept), 1000)]


def test_a_line_that_a_crash_has_cut_off_is_skipped(tmp_path):
    (tmp_path / "requests-0.jsonl").write_text('{"puid": "a"}\n{"puid": "b"')
    assert [entry["puid"] for entry in request_log.entries(tmp_path)] == ["a"]


def test_without_a_file_it_says_how_to_name_one(tmp_path):
    with pytest.raises(UserError, match="make labels FILE="):
        labels.post(Settings(request_log=tmp_path), "")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,truth", "a,1"], "no column puid"),
        (["puid,truth", "a,"], "a value is missing in line 2"),
        (["puid,truth", "a,1", "a,2"], "line 3 labels a row"),
        (["puid,row,truth", "a,-1,2"], "`row` in line 2"),
        (["puid,row,truth", "a,x,2"], "`row` in line 2"),
    ],
)
def test_a_faulty_file_is_refused_whole(tmp_path, lines, message):
    file = write(tmp_path / "labels.csv", *lines)
    with pytest.raises(UserError, match=message):
        labels.post(Settings(request_log=tmp_path), file)
    with pytest.raises(UserError, match="cannot be read"):
        labels.post(Settings(request_log=tmp_path), str(tmp_path / "nowhere.csv"))


def test_parquet_is_read_as_well(tmp_path):
    pd.DataFrame({"puid": ["a"], "truth": [1.5]}).to_parquet(tmp_path / "labels.parquet")
    report = labels.post(Settings(request_log=tmp_path), str(tmp_path / "labels.parquet"))
    assert report.unknown == 1
    assert str(report) == "0 labels counted; 1 of no request in the log"
