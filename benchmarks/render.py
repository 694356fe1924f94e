"""Measure a render against the mere start of cookiecutter: `--no-input .` beside `--version`.

Processor time, user and system, of the process and its children. Both run in turns, and the ratio
is taken turn by turn, so a busy machine slows both sides of it. `python benchmarks/render.py
[turns]`.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COOKIECUTTER = Path(sys.executable).with_name("cookiecutter")
TURNS = 15
LIMIT = 2.0  # a render costs at most one more start


def main() -> int:
    """Print the figures; 1 when a render costs more than it may."""
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else TURNS
    measure()  # compiles the bytecode, reads the files into the cache
    taken = [measure() for _ in range(turns)]
    start, render = (statistics.median(side) for side in zip(*taken, strict=True))
    ratio = statistics.median(render / start for start, render in taken)
    verdict = f"more than {LIMIT}: FAIL" if ratio > LIMIT else f"at most {LIMIT}"
    print(
        f"render: {render:.3f} s of processor time, a start of cookiecutter {start:.3f} s; "
        f"ratio {ratio:.2f}, median of {turns} turns, {verdict}"
    )
    return int(ratio > LIMIT)


def measure() -> tuple[float, float]:
    """Return the processor seconds of a start and of a render, one after the other."""
    return seconds("--version"), seconds("--no-input", "--default-config", str(ROOT))


def seconds(*arguments: str) -> float:
    """Run cookiecutter in an empty folder; return the processor time of it and its children."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"HOME": folder, "TMPDIR": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [COOKIECUTTER, *arguments], cwd=folder, env=environment, check=True, capture_output=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    sys.exit(main())
