"""A team's own metrics: those of the repository's metrics.py, beside the server's."""

from modelloop.testing.example_model import NAMES, ROW


def test_incomplete_rows_are_added_up_over_workers(serve, example):
    rows = [ROW, [None, *ROW[1:]]]
    with serve(example, SERVE_WORKERS=2) as server:
        for _ in range(20):  # a connection each, so that both workers answer
            assert server.predict({"data": {"names": NAMES, "ndarray": rows}}).status == 200
        pages = {server.call("GET", "/metrics", port=server.metrics_port).text for _ in range(5)}
    counts = {
        line
        for page in pages
        for line in page.splitlines()
        if line.startswith("incomplete_rows_total{")
    }
    (line,) = counts
    assert line.endswith(" 20.0")
