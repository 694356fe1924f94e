"""What the libraries of the server read from the environment when they are imported.

Imported by whoever starts the server, before everything else of it.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

# A thread that a library starts is missing in the forked workers: without OpenMP's they can hang,
# without onnxruntime's, which sends usage data to its makers, they abort when they end.
NO_THREADS = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
# Where prometheus_client's own objects (custom_metrics.py) are added up over workers.
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
MADE_BY_LIBRARY = re.compile(r"(counter|summary|histogram|gauge_[a-z]+)_\d+\.db")


def prepare() -> None:
    """Set it; a folder that is made for shared metrics is removed when this process ends."""
    os.environ.update(NO_THREADS)
    named = os.environ.get(SHARED_METRICS)
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*_*.db"):
            if MADE_BY_LIBRARY.fullmatch(old.name):  # for an earlier server
                old.unlink()
    else:
        os.environ[SHARED_METRICS] = made = tempfile.mkdtemp(prefix="metrics-")
        atexit.register(_remove, made, os.getpid())


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # the workers are forks that end alike
        shutil.rmtree(folder, ignore_errors=True)
