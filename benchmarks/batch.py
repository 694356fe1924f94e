"""Measure what `make batch` costs beyond the model's own predict, on one core, at its chunk size.

The champion that the example's pipeline makes scores a Parquet file of its rows. Two ratios are
taken, each to the served model's predict function on the same rows as ready arrays: of `score`,
which holds every row against the contract first, and of the whole work from file to file, which
also reads, counts drift, writes and keeps its state. Processor time, in turns within one process
on one core. Not in it: starting Python, downloading the model, MLflow. Needs the environments of
`make test`. `python benchmarks/batch.py [rounds] [chunks]`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = ROOT / "build" / "env"
LIBRARY = ROOT / "runtime" / "src"
PACKAGE = "penguins"
ROUNDS, CHUNKS = 5, 10
LIMIT = 1.2

MEASURE = f"""
import os, statistics, sys, time
from pathlib import Path
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import numpy as np
from modelloop.batch import file, scoring
from modelloop.registry import versions
from {PACKAGE} import data, project

LIMIT, ROUNDS = float(sys.argv[1]), int(sys.argv[2])
ROWS = int(sys.argv[3]) * file.CHUNK_ROWS
env, folder = project.settings, Path("build/bench")
versions.fetch(project, "challenger", folder)
model = scoring.LocalModel(project, folder)
source, target = Path("build/rows.parquet"), Path("build/scores.parquet")
raw = data.load(env.data_uri, env.data_query)
rows = raw.iloc[np.random.default_rng(0).integers(0, len(raw), ROWS)].reset_index(drop=True)
rows.to_parquet(source)
starts = range(0, ROWS, file.CHUNK_ROWS)
chunks = [rows.iloc[start : start + file.CHUNK_ROWS] for start in starts]
arrays = [scoring.Rules(model.contract).check(chunk).table for chunk in chunks]

def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start

works = {{
    "model": lambda: [model._model(table) for table in arrays],
    "score": lambda: [model.score(chunk) for chunk in chunks],
    "file": lambda: file.score(model, source, target),
}}
taken = [{{name: seconds(work) for name, work in works.items()}} for _ in range(ROUNDS)]
rate = {{name: ROWS / min(t[name] for t in taken) for name in works}}
ratio = {{n: statistics.median(t[n] / t["model"] for t in taken) for n in ("score", "file")}}
print(
    f"batch, {{model.contract.provenance.candidate}}, {{ROWS}} rows on one core: "
    f"model alone {{rate['model']:,.0f}} rows/s; with validation {{rate['score']:,.0f}} rows/s, "
    f"{{ratio['score']:.2f}} of its time; from file to file {{rate['file']:,.0f}} rows/s, "
    f"{{ratio['file']:.2f}} of its time; at most {{LIMIT}}"
)
sys.exit(max(ratio.values()) > LIMIT)
"""


def main() -> int:
    """Print the figures; 1 when a median ratio is above the limit."""
    sizes = [*sys.argv[1:], *map(str, (ROUNDS, CHUNKS)[len(sys.argv) - 1 :])]
    folder = ROOT / "build" / "bench" / "batch" / PACKAGE
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(
        [Path(sys.executable).parent / "cookiecutter", ROOT, "--no-input", "--default-config",
         "--output-dir", folder.parent], check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{LIBRARY}:{folder / 'src'}"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    python = ENVIRONMENTS / "main" / "bin" / "python"
    subprocess.run(
        [python, "-m", "modelloop", "train"], cwd=folder, env=environment, check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    measure = [python, "-c", MEASURE, str(LIMIT), *sizes]
    return subprocess.run(measure, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
