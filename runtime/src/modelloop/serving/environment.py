"""Environment variables that the server's libraries read when they are imported.

The command that starts the server prepares them before it imports any other module of it.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

# A thread that a library starts is missing in the forked workers: without OpenMP's they can hang;
# without onnxruntime's, which sends usage data to its vendor, they abort when they end.
NO_THREADS = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
# The folder in which prometheus_client adds up the team's own metrics (metrics.py) over workers.
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
MADE_BY_LIBRARY = re.compile(r"(counter|summary|histogram|gauge_[a-z]+)_\d+\.db")


def prepare() -> None:
    """Set them; a folder that is made for shared metrics is removed when this process ends."""
    os.environ.update(NO_THREADS)
    named = os.environ.get(SHARED_METRICS)
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*_*.db"):
            if MADE_BY_LIBRARY.fullmatch(old.name):  # of an earlier server
                old.unlink()
    else:
        os.environ[SHARED_METRICS] = made = tempfile.mkdtemp(prefix="metrics-")
        atexit.register(_remove, made, os.getpid())


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # the workers are forks, and run this at their end, too
        shutil.rmtree(folder, ignore_errors=True)
