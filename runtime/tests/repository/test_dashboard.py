"""The dashboard: from its file, and by a real Prometheus that has every series it reads."""

import itertools
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import promql_parser as promql
import pytest

import dashboard
from modelloop import Project
from modelloop.laptop import tools
from modelloop.testing.servers import wait_until
from promql_labels import OF_PROMETHEUS, Labels

Known = dict[str, set[str]]  # every series, and its labels

FEATURE = 'größe\\"in" mm, it\'s'
VALUES = {
    "model_name": ["a-model"],
    "model_version": ["1", "2"],
    "feature": [FEATURE, "colour"],
    "bin": ["b0", "b1", "missing"],
    "code": ["200", "500"],
    "le": ["0.25", "+Inf"],
    "truth": ["cat", "dog"],
    "predicted": ["cat", "dog"],
    "job": ["model"],
    "alertstate": ["firing"],
    "severity": ["page", "ticket"],
}
CHOSEN = {"model_name": "a-model"}


@pytest.fixture(scope="module")
def known(project: Project, regression: Project) -> Known:
    """The series of models of both problem types, which the dashboard serves."""
    return dashboard.known_series(project, regression)


def test_the_committed_dashboard_is_what_its_script_builds():
    done = build("--check", folder=dashboard.FOLDER)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_stale_dashboard_is_found_and_built_anew(tmp_path: Path):
    folder = Path(shutil.copytree(dashboard.FOLDER, tmp_path / "grafana"))
    file = folder / "model.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("Model age", "Age"), encoding="utf-8")

    found = build("--check", folder=folder)
    stale = file.read_text(encoding="utf-8")
    built = build(folder=folder)

    assert found.returncode == 1
    assert "model.json is not what" in found.stderr
    assert stale != text  # it only looked
    assert built.returncode == 0
    assert file.read_text(encoding="utf-8") == text


def test_the_dashboard_has_no_fault(known: Known):
    assert dashboard.check(dashboard.committed(), known) == []


def test_a_repository_of_each_problem_type_lacks_series_of_the_other(known: Known, either: Project):
    """The dashboard is checked with both for a reason."""
    assert dashboard.check(dashboard.committed(), dashboard.known_series(either)) != []
    assert dashboard.known_series(either).keys() < known.keys()


def misspell_a_key(board: dict) -> None:
    panel(board, "Latency")["fieldConfig"]["defaults"]["unti"] = "s"


def misspell_a_series(board: dict) -> None:
    change_query(board, "Worst drift", "model:feature_psi:1h", "model:feature_psi:1m")


def filter_by_a_dead_label(board: dict) -> None:
    change_query(board, "Refused and failed by status", "code!=", "status!=")


def aggregate_by_a_dead_label(board: dict) -> None:
    change_query(board, "Refused and failed by status", "by (code)", "by (status)")


def name_a_dead_label_in_a_legend(board: dict) -> None:
    target(board, "Refused and failed by status")["legendFormat"] = "{" + "{status}" + "}"


def join_on_different_labels(board: dict) -> None:
    change_query(board, "CPU", " / ", " / on (code) ")


def join_on_too_few_labels(board: dict) -> None:
    change_query(board, "CPU", " / ", " / on (model_name) ")


def divide_by_zero(board: dict) -> None:
    change_query(board, "Memory", " / ", " % 0 * ")


def call_an_unknown_function(board: dict) -> None:
    change_query(board, "CPU", "rate(", "ratio(")


def use_an_unknown_variable(board: dict) -> None:
    change_query(board, "CPU", "$model_version", "$version")


def choose_from_an_unknown_label(board: dict) -> None:
    change_variable(board, "feature", "feature)", "input)")


def choose_from_an_unknown_series(board: dict) -> None:
    change_variable(board, "model_name", "model_info", "model_infos")


def leave_out_a_description(board: dict) -> None:
    panel(board, "Memory")["description"] = ""


def leave_out_a_unit(board: dict) -> None:
    del panel(board, "Memory")["fieldConfig"]["defaults"]["unit"]


def lay_a_panel_on_another(board: dict) -> None:
    panel(board, "Latency")["gridPos"]["x"] -= 1


def lay_a_panel_beyond_the_grid(board: dict) -> None:
    panel(board, "Latency")["gridPos"]["w"] += 1


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (misspell_a_key, "/fieldConfig/defaults/unti"),
        (misspell_a_series, "Worst drift: no series model:feature_psi:1m"),
        (filter_by_a_dead_label, "model:requests:rate5m has no label status"),
        (aggregate_by_a_dead_label, "has no label status"),
        (name_a_dead_label_in_a_legend, "no label status for the legend"),
        (join_on_different_labels, "cannot match"),
        (call_an_unknown_function, "unknown function"),
        (use_an_unknown_variable, "CPU: unknown variable $version"),
        (choose_from_an_unknown_label, "variable feature: model_feature_reference_ratio"),
        (choose_from_an_unknown_series, "variable model_name: no series model_infos"),
        (leave_out_a_description, "Memory: no description"),
        (leave_out_a_unit, "Memory: no unit"),
        (lay_a_panel_on_another, "Latency: overlaps Refused and failed by status"),
        (lay_a_panel_beyond_the_grid, "Latency: wider than the grid"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_is_found(known: Known, fault: Callable[[dict], None], message: str):
    board = dashboard.committed()
    fault(board)
    faults = dashboard.check(board, known)
    assert any(message in one for one in faults), faults


@pytest.mark.parametrize(
    ("expr", "labels"),
    [
        ("x", "a b"),
        ("sum(x)", ""),
        ("sum by (a) (rate(x[5m]))", "a"),
        ("sum without (a) (x)", "b"),
        ("topk(3, x)", "a b"),
        ("2 * x > 1", "a b"),
        ("x / on (a) y", "a"),
        ("x / on (a) group_left (c) y", "a b c"),
        ("x and on (a) y", "a b"),
        ("x or y", "a b c"),
        ("x / ignoring (b, c) y", "a"),
        ("histogram_quantile(0.5, sum by (a, le) (z))", "a"),
        ("label_replace(y, 'd', '$1', 'c', '(.*)')", "a c d"),
        ("max_over_time(x[1d:1h]) or vector(0)", "a b"),
    ],
)
def test_the_labels_of_an_expression_are_known_before_it_runs(expr: str, labels: str):
    faults: list[str] = []
    known = {"x": {"a", "b"}, "y": {"a", "c"}, "z": {"a", "b", "le"}}
    assert Labels(known, faults).of(promql.parse(expr)) == set(labels.split())
    assert faults == []


@pytest.fixture(scope="module")
def prometheus(
    programs: None, project: Project, known: Known, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a Prometheus that has seen every series for ten minutes."""
    with serving(project, tmp_path_factory.mktemp("prometheus"), known) as url:
        yield url


def test_every_query_is_answered_by_a_prometheus_that_has_the_series(prometheus: str):
    board = dashboard.committed()
    assert dashboard.check_live(prometheus, board, CHOSEN) == []
    assert dashboard.check_live(prometheus, board, CHOSEN | {"feature": FEATURE}) == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (misspell_a_series, "Worst drift: no series model:feature_psi:1m"),
        (filter_by_a_dead_label, "model:requests:rate5m has no label status"),
        (name_a_dead_label_in_a_legend, "no label status for the legend"),
        (choose_from_an_unknown_series, "variable model_name: no values for model_infos"),
        (join_on_too_few_labels, "CPU: found duplicate series"),
        (divide_by_zero, "Memory: no data for"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_fault_is_found_by_a_live_prometheus(
    prometheus: str, fault: Callable[[dict], None], message: str
):
    board = dashboard.committed()
    fault(board)
    faults = dashboard.check_live(prometheus, board, CHOSEN)
    assert any(message in one for one in faults), faults


@pytest.mark.usefixtures("programs")
def test_a_series_that_the_server_does_not_export_is_found(
    project: Project, known: Known, tmp_path: Path
):
    missing = "model_memory_limit_bytes"
    exported = {name: labels for name, labels in known.items() if name != missing}
    with serving(project, tmp_path, exported) as url:
        faults = dashboard.check_live(url, dashboard.committed(), CHOSEN)
        excused = dashboard.check_live(url, dashboard.committed(), CHOSEN, absent={missing})
    assert f"Memory: no series {missing}" in faults
    assert excused == []


@pytest.mark.slow
def test_the_dashboard_can_be_drawn(prometheus: str, tmp_path: Path):
    image = tmp_path / "dashboard.png"
    command = [sys.executable, "-m", "modelloop.monitoring.draw", prometheus, image]
    subprocess.run(command, check=True)
    assert image.read_bytes().startswith(b"\x89PNG")


def build(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script that builds the dashboard."""
    command = [sys.executable, folder / "build.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def panel(board: dict, title: str) -> dict:
    return next(one for one in board["panels"] if one["title"] == title)


def target(board: dict, title: str) -> dict:
    return panel(board, title)["targets"][0]


def change_query(board: dict, title: str, old: str, new: str) -> None:
    assert old in target(board, title)["expr"]
    target(board, title)["expr"] = target(board, title)["expr"].replace(old, new)


def change_variable(board: dict, name: str, old: str, new: str) -> None:
    variable = next(one for one in board["templating"]["list"] if one["name"] == name)
    variable["query"] = variable["query"].replace(old, new)


@contextmanager
def serving(project: Project, folder: Path, series: Known) -> Iterator[str]:
    """A Prometheus whose only data are the series with these labels, of the last ten minutes."""
    samples = folder / "samples.txt"
    samples.write_text(openmetrics(series), encoding="utf-8")
    data = folder / "data"
    subprocess.run(
        [
            tools.find(project, "promtool"),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            samples,
            data,
        ],
        check=True,
        capture_output=True,
    )
    (folder / "prometheus.yml").write_text("", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    log = folder / "prometheus.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                tools.find(project, "prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: is_ready(address) or process.poll() is not None, "Prometheus is ready")
        assert process.poll() is None, log.read_text()
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(10)


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=10):
            return True
    except OSError:
        return False


def openmetrics(series: Known) -> str:
    """Samples of all series, one every 15 seconds; but for those of Prometheus they rise."""
    now = int(time.time())
    lines = []
    for name, labels in series.items():
        names = sorted(labels)
        for values in itertools.product(*(VALUES.get(label, ["some"]) for label in names)):
            pairs = zip(names, values, strict=True)
            # A JSON text escapes quotes and backslashes as OpenMetrics does.
            text = ",".join(f"{n}={json.dumps(v, ensure_ascii=False)}" for n, v in pairs)
            shown = name + "{" + text + "}"
            step = 0 if name in OF_PROMETHEUS else 1
            lines += [f"{shown} {1 + step * n} {now - 600 + 15 * n}" for n in range(41)]
    return "\n".join([*lines, "# EOF", ""])
