"""What the libraries of the server read from the environment when they are imported.

Imported by whoever starts the server, before everything else of it.
"""

import atexit
import os
import shutil
import tempfile

# A thread that a library starts is missing in the forked workers: without OpenMP's they can hang,
# without onnxruntime's, which sends usage data to its makers, they abort when they end.
NO_THREADS = {"OMP_NUM_THREADS": "1", "ORT_DISABLE_TELEMETRY": "1"}
# Where prometheus_client's own objects (custom_metrics.py) are added up over workers.
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def prepare() -> None:
    """Set it; the folder that is made for shared metrics is removed when this process ends."""
    os.environ.update(NO_THREADS)
    folder = os.environ.get(SHARED_METRICS) or tempfile.mkdtemp(prefix="metrics-")
    os.environ[SHARED_METRICS] = folder
    os.makedirs(folder, exist_ok=True)
    for old in os.scandir(folder):  # an earlier server's
        os.remove(old.path)
    atexit.register(_remove, folder, os.getpid())


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # the workers are forks that end alike
        shutil.rmtree(folder, ignore_errors=True)
