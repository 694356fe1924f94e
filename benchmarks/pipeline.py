"""Measure what the local pipeline costs beyond the same steps in one process.

Runs both in turns as whole processes, each round with a store that already exists, and prints the
ratio of wall times round by round. Needs the environments of `make test`.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / "build" / "env"
PACKAGE = "penguins"
ROUNDS = 5
LIMIT = 1.3

ONE_PROCESS = f"""
import tempfile, uuid
from pathlib import Path
from {PACKAGE} import model
from {PACKAGE}.pipeline import steps
key = uuid.uuid4().hex
with tempfile.TemporaryDirectory() as folder:
    at = lambda name: str(Path(folder) / name)
    run = steps.ingest(key, at("raw"))
    steps.validate(at("raw"), run, at("valid"))
    steps.prepare(at("valid"), run, at("train"), at("test"))
    found = [steps.train(name, at("train"), at("test"), run) for name in model.CANDIDATES]
    steps.evaluate(found, at("train"), at("test"), run, key, at("evaluated"))
    assert steps.gate(at("evaluated"), run, at("decided")) == "pass"
    steps.register(at("decided"), run, at("registered"))
    steps.close(key, succeeded=True)
"""


def seconds(folder: Path, *arguments: str) -> float:
    """Run Python in the training environment; wall seconds from start to end."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    python = ENVIRONMENTS / "main" / "bin" / "python"
    start = time.perf_counter()
    subprocess.run(
        [python, *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def main() -> int:
    """Print the figures; 1 when the median ratio is above the limit."""
    folder = ROOT / "build" / "bench" / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "--no-input", "--default-config",
         "--output-dir", folder.parent], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds(folder, "-m", PACKAGE, "train")  # makes the store and the bytecode
    ratios = []
    for n in range(ROUNDS):
        pipeline = seconds(folder, "-m", PACKAGE, "train")
        single = seconds(folder, "-c", ONE_PROCESS)
        ratios.append(pipeline / single)
        print(f"round {n + 1}: pipeline {pipeline:5.1f} s, one process {single:5.1f} s, "
              f"ratio {ratios[-1]:.2f}", flush=True)  # fmt: skip
    median = statistics.median(ratios)
    print(f"local pipeline / one process: median {median:.2f} of {ROUNDS}, at most {LIMIT}")
    return int(median > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
