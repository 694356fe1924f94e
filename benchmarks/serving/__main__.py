"""Measure the model server against its peers, all with the one model of the example.

Renders and trains the example, then starts one server at a time, in turns, several rounds, and
asks each the same rows. Prints the figures, writes docs/serving-speed.md and .svg, and ends with 1
when a target is missed. Needs Linux and the environments of `make test`, and runs with the Python
of their training environment (`make bench-serve`). `--quick` measures once and briefly, and leaves
the docs alone.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import product
from multiprocessing import get_context

import numpy as np
import pandas as pd
from load import load, measure_client, message
from report import CELLS, CONNECTIONS, ROWS, Cell, Result, figures, judge, page, plot
from servers import BENCH, EXAMPLE, MODEL, ROOT, Question, Running, Server, make_servers, train


def main() -> int:
    """Print the figures and write the docs; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round, no docs")
    quick = parser.parse_args().quick
    rounds, seconds, folder = (1, 0.5, BENCH) if quick else (3, 2.0, ROOT / "docs")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # stops the server too
    sys.stdout.reconfigure(line_buffering=True)
    check_machine()

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client:
        limit = measure_client(client, seconds)
        print(
            f"load generator: {limit.rate:,.0f} requests a second when the answer costs nothing, "
            f"{limit.own_cpu:.3f} ms of its own CPU each"
        )
        pipeline = train()
        question, model_cpu = ask_offline(pipeline)
        servers = make_servers(pipeline)
        results = measure_rounds(client, servers, question, rounds, seconds)

    verdicts, met = judge(results)
    text = page(results, verdicts, limit, model_cpu, rounds, seconds)
    (folder / "serving-speed.md").write_text(text)
    plot(folder / "serving-speed.svg", results)
    print(f"\n{figures(results)}\n\n{verdicts}")
    print(f"\nwritten: serving-speed.md and serving-speed.svg in {folder}")
    return int(not met)


def check_machine() -> None:
    """End with what to do when this machine or Python cannot run the comparison."""
    if sys.platform != "linux":
        sys.exit("bench-serve reads CPU time and memory from /proc: run it on Linux")
    if sys.version_info >= (3, 13):
        sys.exit("MLServer 1.7.1 needs Python 3.11 or 3.12: make bench-serve PYTHON=python3.12")


def ask_offline(pipeline: object) -> tuple[Question, float]:
    """Take rows of the example's table, and let scikit-learn answer them here.

    Also tells the ms of CPU that it needs for one row, with no server around it.
    """
    contract = json.loads((MODEL / "contract.json").read_text())
    kinds = {feature["name"]: feature["kind"] for feature in contract["features"]}
    numbers = [name for name, kind in kinds.items() if kind == "number"]
    table = pd.read_csv(EXAMPLE / "data" / "penguins.csv")[list(kinds)]
    # Whole rows only: a missing value is written differently in each server's protocol.
    table = table.dropna().sample(max(ROWS), random_state=1)
    rows = table.astype(dict.fromkeys(numbers, float)).to_numpy(dtype=object).tolist()

    table = table.astype(dict.fromkeys(numbers, np.float32))  # as in training
    expected = pipeline.predict_proba(table)
    used = []
    for _ in range(30):
        begin = time.process_time()
        pipeline.predict_proba(table[:1])
        used.append(1000 * (time.process_time() - begin))
    return Question(list(kinds), rows, expected), statistics.median(used)


def measure_rounds(
    client: Executor, servers: list[Server], question: Question, rounds: int, seconds: float
) -> dict[str, Result]:
    """Measure one server after the other, and all of them again in the next round."""
    results = {server.key: [] for server in servers}
    for n, server in product(range(rounds), servers):
        result = measure_server(client, server, question, seconds)
        results[server.key].append(result)
        one = result.cells[CELLS[0]]
        print(
            f"round {n + 1} of {rounds}, {server.label}: started in {result.start:.1f} s, "
            f"{one.rate:,.0f} single rows a second, {one.cpu:.2f} ms of CPU each"
        )
    return {key: summary(of_rounds) for key, of_rounds in results.items()}


def measure_server(client: Executor, server: Server, question: Question, seconds: float) -> Result:
    """Start a server, measure it and end it."""
    with closing(Running(server, question)) as running:
        start = running.wait()
        for rows in ROWS:  # warms it up
            measure_cell(client, running, rows, max(CONNECTIONS), seconds / 4)
        cells = {cell: measure_cell(client, running, *cell, seconds) for cell in CELLS}
        return Result(server, start, running.pss(), cells)


def measure_cell(
    client: Executor, running: Running, rows: int, connections: int, seconds: float
) -> Cell:
    """Load a server for a while."""
    # No two alike, one after the other: a server that keeps its last answers gains nothing.
    bodies = [running.body(rows, first) for first in range(len(running.question.rows))]
    requests = [message(running.server.path, body) for body in bodies]
    before = running.cpu()
    try:
        seen = client.submit(load, running.port, requests, connections, seconds).result()
    except (OSError, ValueError) as error:
        running.fail(f"with {rows} rows and {connections} connections: {error}")
    cpu = 1000 * (running.cpu() - before) / seen.requests
    return Cell(**vars(seen), cpu=cpu)


def summary(results: list[Result]) -> Result:
    """Take rate and latencies of the fastest round, and the medians of CPU, start and memory.

    What else runs on the machine only takes from the rate; it moves CPU both ways.
    """
    cells = {}
    for cell in CELLS:
        tries = [result.cells[cell] for result in results]
        best = max(tries, key=lambda one: one.rate)
        cells[cell] = replace(best, cpu=statistics.median(one.cpu for one in tries))
    start = statistics.median(result.start for result in results)
    pss = statistics.median(result.pss for result in results)
    return Result(results[0].server, start, pss, cells)


if __name__ == "__main__":
    sys.exit(main())
