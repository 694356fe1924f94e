"""The example of a team's own metric; remove it with the example."""

import pytest
from servers import running

from {{ cookiecutter.package_name }} import custom_metrics

pytestmark = pytest.mark.slow


def test_penguins_on_a_foreign_island_are_added_up_over_workers(serve_python, model_dir, tmp_path):
    with running(serve_python, model_dir, tmp_path / "log", SERVE_WORKERS=2) as server:
        metadata = server.call("GET", "/metadata").json
        features = [i["schema"] for i in metadata["inputs"] if i["messagetype"] == "feature"]
        usual = {f["name"]: f.get("median") or f["categories"][0] for f in features}
        for island in ("Dream", "Torgersen", "Biscoe"):
            for _ in range(20):  # a connection each, so that both workers answer
                row = usual | {"species": "Gentoo", "island": island}
                assert server.predict({"jsonData": row}).status == 200
        pages = {server.call("GET", "/metrics", port=server.metrics_port).text for _ in range(5)}
    name = custom_metrics.OUT_OF_PLACE._name + "_total"
    counts = {
        line
        for page in pages
        for line in page.splitlines()
        if line.startswith(name) and 'species="Gentoo"' in line
    }
    (line,) = counts
    assert line.endswith(" 40.0")
