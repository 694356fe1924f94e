"""Measure what the local pipeline costs beyond the same steps in one process.

Runs both in turns as whole processes, each round with a store that already exists, and prints the
ratio of wall times round by round. Needs the environments of `make test`.
`python benchmarks/pipeline.py [rounds]`.
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
LIBRARY = ROOT / "runtime" / "src"
PACKAGE = "penguins"
ROUNDS = 5
LIMIT = 1.3

# The bodies of the components of the repository's pipeline.py, in their order.
ONE_PROCESS = f"""
import tempfile, uuid
from pathlib import Path
from modelloop.training import steps
from {PACKAGE} import model, project, tracking
key = uuid.uuid4().hex
with tempfile.TemporaryDirectory() as folder:
    at = lambda name: str(Path(folder) / name)
    run = tracking.open_run(key)
    steps.ingest(project, at("raw"))
    tracking.log_table(run, at("raw"))
    steps.validate(project, at("raw"), at("valid"))
    steps.prepare(project, at("valid"), at("train"), at("test"))
    tracking.log_split(run, at("train"), at("test"))
    found = []
    for name in model.CANDIDATES:
        with tracking.candidate_run(run, name):
            trained = steps.train(project, name, at("train"), at("test"))
            found.append(trained.summary(tracking.log_candidate(trained)))
    evaluated = steps.evaluate(project, found, at("train"), at("test"), run, key, at("evaluated"))
    tracking.log_evaluation(run, evaluated)
    contract = steps.gate(project, at("evaluated"), at("decided"))
    tracking.log_decision(run, contract)
    assert steps.verdict(contract.decision) == "pass"
    contract = steps.register(project, at("decided"), at("registered"))
    tracking.log_version(run, contract.version)
    tracking.close_run(key, succeeded=True)
"""


def seconds(folder: Path, *arguments: str) -> float:
    """Run Python in the training environment; wall seconds from start to end."""
    environment = {**os.environ, "PYTHONPATH": f"{LIBRARY}:{folder / 'src'}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    python = ENVIRONMENTS / "main" / "bin" / "python"
    start = time.perf_counter()
    subprocess.run(
        [python, *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )
    return time.perf_counter() - start


def main() -> int:
    """Print the figures; 1 when the median ratio is above the limit."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    folder = ROOT / "build" / "bench" / "pipeline" / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "--no-input", "--default-config",
         "--output-dir", folder.parent], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds(folder, "-m", "modelloop", "train")  # makes the store and the bytecode
    ratios = []
    for n in range(rounds):
        pipeline = seconds(folder, "-m", "modelloop", "train")
        single = seconds(folder, "-c", ONE_PROCESS)
        ratios.append(pipeline / single)
        print(f"round {n + 1}: pipeline {pipeline:5.1f} s, one process {single:5.1f} s, "
              f"ratio {ratios[-1]:.2f}", flush=True)  # fmt: skip
    median = statistics.median(ratios)
    print(f"local pipeline / one process: median {median:.2f} of {rounds}, at most {LIMIT}")
    return int(median > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
