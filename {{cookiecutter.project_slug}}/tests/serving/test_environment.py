import os
import subprocess
import sys
from pathlib import Path

from servers import SOURCES

from {{ cookiecutter.package_name }}.serving import environment

PREPARE = f"""
import os
from {environment.__package__} import environment
environment.prepare()
print(os.environ["PROMETHEUS_MULTIPROC_DIR"], os.path.isdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
"""


def prepared(**variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE],
        env={**os.environ, "PYTHONPATH": str(SOURCES), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_folder_is_made_and_goes_with_the_process(tmp_path):
    folder, was_there = prepared(TMPDIR=str(tmp_path), PROMETHEUS_MULTIPROC_DIR="")
    assert Path(folder).parent == tmp_path
    assert was_there == "True"
    assert not Path(folder).exists()


def test_a_folder_that_is_named_stays_and_only_old_metrics_leave_it(tmp_path):
    for name in ("counter_12.db", "gauge_livemax_3.db", "counter_of_mine.db", "data.db", "notes"):
        (tmp_path / name).touch()
    folder, _ = prepared(PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert folder == str(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"counter_of_mine.db", "data.db", "notes"}
