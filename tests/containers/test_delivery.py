"""From a push to a champion with real images: GoCD's pipelines, podman, a registry, containers.

The cluster is a stand-in for kubectl, see tests/test_gocd.py.
"""

from pathlib import Path

import container_tool
import pytest
from test_gocd import RELEASERS, delivering

from .conftest import company_variables
from .engine import CONFINED, Engine, registry

pytestmark = pytest.mark.slow


def test_a_push_leads_to_a_champion_that_runs_as_it_was_packaged(
    template: Path, podman: Engine, tmp_path: Path
):
    run = (
        'podman pull --quiet --tls-verify=false "$1" >/dev/null\n'
        f"exec podman run --rm {' '.join(CONFINED)} "
        '--env SERVE_PORT="$2" --env METRICS_PORT="$3" "$1"\n'
    )
    with registry(tmp_path) as address:
        tool = {
            **podman.environment,
            **company_variables(tmp_path),
            "KUBECTL_POD": container_tool.program(tmp_path / "pod", run),
        }
        answers = {"container_registry": f"{address}/models"}
        (tmp_path / "delivery").mkdir()
        with delivering(template, tmp_path / "delivery", answers, tool) as delivery:
            assert delivery.train(delivery.server).stages["gate"] == "passed"
            ran = delivery.deploy(delivery.server)
            assert ran.stages == {"package": "passed", "deploy-staging": "passed"}, ran.log
            delivery.server.start(ran, "canary", RELEASERS)

            assert [*ran.stages.values()] == ["passed"] * 4, ran.log
            assert delivery.traffic() == {"v1": 100}
            assert delivery.registered() == {"challenger": "1", "champion": "1"}
            assert "answers its golden rows" in ran.log["package/package"]
            (predictor,) = delivery.cluster.find(
                "models", "seldondeployments.machinelearning.seldon.io", "penguins"
            )["spec"]["predictors"]
            image = predictor["componentSpecs"][0]["spec"]["containers"][0]["image"]
            assert image.startswith(f"{address}/models/penguins-serve@sha256:")
            podman.podman("image", "exists", image)  # the pods pulled it
