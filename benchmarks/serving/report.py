"""What is said of the servers: the targets, the tables, the page and its picture."""

import io
import json
import os
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import matplotlib
from load import Load
from matplotlib.figure import Figure
from servers import MODEL, TOLERANCE, Server

ROWS = (1, 100)
CONNECTIONS = (1, 8)
CELLS = tuple(product(ROWS, CONNECTIONS))
COLOURS = {1: "#1f6fb4", 100: "#c8621a"}


@dataclass(frozen=True)
class Cell(Load):
    """A load of so many rows over so many connections, and what it cost the server."""

    cpu: float  # ms a request


@dataclass(frozen=True)
class Result:
    """The figures of one server."""

    server: Server
    start: float  # s
    pss: float  # MB
    cells: dict[tuple[int, int], Cell]


Results = dict[str, Result]


def judge(results: Results) -> tuple[str, bool]:
    """Hold the figures against the targets: their table, and whether all are met."""
    ours = results["ours"]
    # A target holds with one connection and with eight, and is a ratio of this run.
    times = {
        (key, rows): min(ratio(results, key, rows, n) for n in CONNECTIONS)
        for key, rows in product(results, ROWS)
    }
    targets = [
        # Those that run the scikit-learn model.
        ("MLServer / ours, CPU, one row", times["mlserver", 1], "at least", 5),
        ("MLflow / ours, CPU, one row", times["mlflow", 1], "at least", 20),
        # The least server that runs the same ONNX file.
        ("ours / bare FastAPI, CPU, one row", 1 / times["fastapi", 1], "at most", 3),
        ("ours / bare FastAPI, CPU, 100 rows", 1 / times["fastapi", 100], "at most", 3),
        ("ours / bare FastAPI, start", ours.start / results["fastapi"].start, "at most", 3),
        ("our memory (PSS), MB", ours.pss, "at most", 200),
    ]
    lines, all_met = ["target | measured | demanded | "], True
    for text, value, bound, limit in targets:
        met = value <= limit if bound == "at most" else value >= limit
        lines.append(f"{text} | {value:.3g} | {bound} {limit:g} | {'pass' if met else 'FAIL'}")
        all_met &= met
    return markdown(lines), all_met


def figures(results: Results) -> str:
    """Make the table of all figures."""
    lines = [
        "server | rows | connections | requests/s | p50 ms | p99 ms | CPU ms/request | CPU / ours"
        " | start s | PSS MB"
    ]
    for key, result in results.items():
        once = f"{result.start:.1f} | {result.pss:.0f}"
        for (rows, connections), cell in result.cells.items():
            times = ratio(results, key, rows, connections)
            lines.append(
                f"{result.server.label} | {rows} | {connections} | {cell.rate:,.0f} | "
                f"{cell.p50:.2f} | {cell.p99:.2f} | {cell.cpu:.2f} | "
                f"{times:.{0 if times >= 10 else 2}f} | {once}"
            )
            once = " | "
    return markdown(lines)


def page(
    results: Results, verdicts: str, limit: Load, model_cpu: float, rounds: int, seconds: float
) -> str:
    """Make the page; it names no machine, person or time."""
    servers = [result.server for result in results.values()]
    compared = "\n".join(f"- **{s.label}**: {s.setting}. {s.versions}." for s in servers)
    cells = [cell for result in results.values() for cell in result.cells.items()]
    fastest = max(cell.rate for _, cell in cells)
    busy = min(cell.cpu * cell.rate / 1000 for (_, n), cell in cells if n == max(CONNECTIONS))
    mlserver, mlflow = (results[key].cells[1, 1].cpu - model_cpu for key in ("mlserver", "mlflow"))
    candidate = json.loads((MODEL / "contract.json").read_text())["provenance"]["candidate"]
    return f"""\
# How fast the model server is

`make bench-serve` wrote this page and its picture, on {os.cpu_count()} cores.

![server CPU for one request, by server](serving-speed.svg)

## Targets

{verdicts}

A target holds with one connection and with eight; the worse of the two is shown.

## Figures

{figures(results)}

- CPU is user and system time of the server's whole process tree.
- Start is from exec to the first right answer, memory (PSS) the whole tree's after the load.
- CPU, start and memory are medians of {rounds} rounds; rate and latencies are the fastest round's.
- CPU, and above all its ratios, repeat well; rates and latencies depend on the machine, whose cores
  the server shares with the load generator.

## What was compared

One model for all: the example's candidate `{candidate}`, a scikit-learn pipeline on two text and
four number columns, or its ONNX form. One worker, `OMP_NUM_THREADS=1`, loopback.

{compared}

MLServer and MLflow run the scikit-learn pipeline, since that is what they serve of this model. By
itself it takes {model_cpu:.1f} ms of CPU for one row; {mlserver:.1f} ms and {mlflow:.1f} ms are
left for the servers. The bare FastAPI application runs the ONNX form and does nothing else: it
shows what any server around this model costs at the least.

## How it is measured

One server runs at a time, in turns, {rounds} rounds. It is asked until the right answer comes,
warmed up, then loaded for {seconds:g} s each with 1 and 100 rows over 1 and 8 kept connections;
a connection sends its next request, with other rows, when the answer is there. Every answer must
be a 200, and the first ones the scikit-learn model's probabilities to {TOLERANCE:g}; otherwise the
benchmark fails.

The load generator is a process of its own. Over one connection it reaches {limit.rate:,.0f}
requests a second when the answer costs nothing; the fastest server here reaches {fastest:,.0f}.
With eight connections each server is busy at least {busy:.0%} of the time: it is the bottleneck.

To repeat: `make bench-serve`, some minutes on a quiet machine, needs Linux and Python 3.11 or 3.12.
`make bench-serve ARGS=--quick` takes one short round and leaves this page alone. What the peers
need is in `benchmarks/serving/peers/`.
"""


def plot(path: Path, results: Results) -> None:
    """Draw CPU a request of each server with one connection, for 1 and 100 rows."""
    matplotlib.rcParams["svg.hashsalt"] = "serving-speed"  # the same figures, the same file
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    note = partial(axes.annotate, textcoords="offset points")
    order = sorted(results.values(), key=lambda result: -result.cells[1, 1].cpu)
    axes.set_yticks(range(len(order)), [result.server.label for result in order])
    for y, result in enumerate(order):
        values = [result.cells[rows, 1].cpu for rows in ROWS]
        axes.plot(values, [y, y], color="0.8", linewidth=3, zorder=1)
        # The two of a server can be close: their figures grow away from each other.
        for rows, value, side in zip(ROWS, values, ("right", "left"), strict=True):
            axes.scatter(value, y, s=60, color=COLOURS[rows], zorder=2)
            note(f"{value:.2g}", (value, y), (0, 7), color=COLOURS[rows], ha=side)
        if result.server.key == "ours":
            axes.get_yticklabels()[y].set_fontweight("bold")
    for rows, colour in COLOURS.items():
        axes.scatter([], [], s=60, color=colour, label=f"{rows} row{'s' * (rows > 1)}")
    axes.legend(frameon=False, loc="upper right", title="a request of")
    axes.set_ylim(-0.5, len(order) - 0.4)
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms, logarithmic")
    axes.set_title("Server CPU for one request: one worker, one connection", loc="left")
    axes.grid(axis="x", color="0.92")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    lines = [line.rstrip() for line in drawn.getvalue().splitlines()]  # as pre-commit wants them
    path.write_text("\n".join(lines) + "\n")


def ratio(results: Results, key: str, rows: int, connections: int) -> float:
    """How many times our CPU a server needs for a request."""
    return results[key].cells[rows, connections].cpu / results["ours"].cells[rows, connections].cpu


def markdown(lines: list[str]) -> str:
    """Make a table that can be read as it is, too; the first line is its head."""
    head, *body = [line.split(" | ") for line in lines]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    rule = ["-" * widths[0], *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    padded = [
        [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]
        for line in (head, rule, *body)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)
