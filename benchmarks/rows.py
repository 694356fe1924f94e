"""Measure what training and scoring cost as the table grows: wall time and peak memory by rows.

Trains the example's table, drawn again and again with a little noise, step by step, each step in a
process of its own, and scores it as `make batch` does. A size is judged by the one before it: the
time a row, and the copies, which are how much more memory a step takes over how much larger the
table is that `load` returns. What the libraries take for themselves is in both sizes and does not
count; what the model itself keeps does. Needs the environments of `make test`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "build" / "env" / "main" / "bin" / "python"
LIBRARY = ROOT / "runtime" / "src"
PACKAGE = "penguins"
SIZES = [10**3, 10**4, 10**5, 10**6]
JUDGED = 10**5  # with fewer rows, what the libraries take for themselves hides the rest
MOST_COPIES = 3.0
MOST_GROWTH = 1.3  # of the time a row, from one size to the next

TABLE = """
import sys
import numpy as np
import pandas as pd
from {package} import data, project
rows, path = int(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(0)
table = data.load(project.settings.data_uri, "").sample(rows, replace=True, random_state=0)
for name in table.select_dtypes("number"):
    spread = table[name].std() / 20
    noisy = table[name] + random.normal(0, spread, rows)
    table[name] = noisy.clip(table[name].min(), table[name].max())
table.reset_index(drop=True).to_parquet(path)
print(table.memory_usage(deep=True, index=False).sum() / 2**20)
"""

STEP = """
import json, resource, sys, time
from pathlib import Path
from modelloop.batch import file, scoring
from modelloop.contract.contract import Contract
from modelloop.registry import runs
from modelloop.training import steps
from {package} import project, tracking

def at(name):
    return Path(sys.argv[1]) / name

def best():
    contract = Contract.read(at("model"))
    folder = runs.download_model(project, contract.provenance.mlflow_model, at("model"))
    contract.write(folder)
    return scoring.LocalModel(project, folder)

def train(name, run):
    with tracking.candidate_run(run, name):
        trained = steps.train(project, name, at("train"), at("test"))
        return trained.summary(tracking.log_candidate(trained))

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

said = at("said.json")
known = json.loads(said.read_text()) if said.exists() else {{}}
before, start = peak(), time.perf_counter()
known[{step!r}] = {call}
seconds = time.perf_counter() - start
said.write_text(json.dumps(known))
print(json.dumps([seconds, peak() - before]))
"""


def steps(candidates: list[str]) -> dict[str, str]:
    """Give what to call, by the name of the step."""
    trained = ", ".join(f'known["train {name}"]' for name in candidates)
    return {
        "track": 'tracking.open_run("bench")',
        "ingest": 'steps.ingest(project, at("raw"))',
        "validate": 'steps.validate(project, at("raw"), at("valid"))',
        "prepare": 'steps.prepare(project, at("valid"), at("train"), at("test"))',
        **{f"train {name}": f'train("{name}", known["track"])' for name in candidates},
        "evaluate": f'steps.evaluate(project, [{trained}], at("train"), at("test"), '
        'known["track"], "bench", at("model")).candidate',
        "score": 'file.score(best(), at("table.parquet"), at("scores.parquet")).rows',
    }


def run(folder: Path, code: str, *arguments: object, **environment: str) -> str:
    """Run code in the training environment; returns the last line that it prints."""
    variables = {**os.environ, "PYTHONPATH": f"{LIBRARY}:{folder / 'src'}", **environment}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [PYTHON, "-c", code, *map(str, arguments)],
        cwd=folder, env=variables, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout.strip().splitlines()[-1]


@dataclass(frozen=True)
class Cost:
    """Of one step: wall seconds and MiB beyond its imports."""

    seconds: float
    memory: float


def measure(folder: Path, rows: int, candidates: list[str]) -> tuple[float, dict[str, Cost]]:
    """Return the size of the table in MiB, and what each step costs."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        table = scratch / "table.parquet"
        size = float(run(folder, TABLE.format(package=PACKAGE), rows, table))
        store = f"sqlite:///{scratch / 'mlflow.db'}"
        found = {}
        for step, call in steps(candidates).items():
            code = STEP.format(package=PACKAGE, call=call, step=step)
            output = run(folder, code, scratch, DATA_URI=str(table), MLFLOW_TRACKING_URI=store)
            found[step] = Cost(*json.loads(output))
    return size, found


def main() -> int:
    """Print the figures; 1 when a step grows faster than the table, or holds too many copies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=SIZES, help="sizes of the table")
    parser.add_argument("--candidates", nargs="+", default=["linear"], help="of model.py")
    arguments = parser.parse_args()
    folder = ROOT / "build" / "bench" / "rows" / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "--no-input", "--default-config",
         "--output-dir", folder.parent], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    faults: list[str] = []
    before: tuple[int, float, dict[str, Cost]] = (0, 0.0, {})
    judged = False
    for rows in sorted({*arguments.rows}):
        size, found = measure(folder, rows, arguments.candidates)
        print(f"{rows:,} rows, {size:,.1f} MiB", flush=True)
        fewer, smaller, earlier = before
        for step, cost in found.items():
            line = f"  {step:<16} {cost.seconds:9.2f} s {cost.memory:8,.0f} MiB"
            if fewer >= JUDGED:
                judged = True
                copies = (cost.memory - earlier[step].memory) / (size - smaller)
                growth = cost.seconds / earlier[step].seconds / (rows / fewer)
                line += f" {copies:5.1f} copies, {growth:.2f} times as long a row"
                if copies > MOST_COPIES:
                    faults.append(f"{step}: {copies:.1f} copies of {rows:,} rows")
                if growth > MOST_GROWTH:
                    faults.append(f"{step}: {growth:.1f} times as long a row as for {fewer:,}")
            print(line, flush=True)
        before = rows, size, found
    if not judged:
        print(f"nothing is judged: that takes two sizes of {JUDGED:,} rows or more")
    else:
        print("\n".join(faults) or "time grows with the rows, and no step holds too many copies")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
