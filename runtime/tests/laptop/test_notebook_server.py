"""The notebook server: its objects on the cluster, and the command that its image starts."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import client as kfp

from modelloop import Project
from modelloop.kubeflow import cluster
from modelloop.settings import Settings

KUBECTL = shutil.which("kubectl") or shutil.which("kubectl", path=Path(sys.executable).parent)
NAME = "penguins-notebook"
CONFINED = {
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
}

Object = dict[str, Any]


@pytest.fixture(scope="module")
def built(project: Project) -> dict[str, Object]:
    """The objects of the kustomization, by kind."""
    if not KUBECTL:
        pytest.skip("kubectl was not found")
    command = [KUBECTL, "kustomize", project.root / "deploy" / "notebook"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {thing["kind"]: thing for thing in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module")
def pod(built: dict[str, Object]) -> tuple[Object, Object]:
    """The pod's specification and its one container."""
    spec = built["Notebook"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


@dataclass
class Pipelines:
    """Answers as Kubeflow Pipelines for several users, and keeps the credentials of requests."""

    url: str = ""
    authorizations: list[str | None] = field(default_factory=list)


@pytest.fixture
def pipelines() -> Iterator[Pipelines]:
    seen = Pipelines()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.authorizations.append(self.headers["Authorization"])
            body = json.dumps({"multi_user": True}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        seen.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


def test_all_of_it_is_in_the_namespace_under_one_name(project, built):
    assert built.keys() == {"Notebook", "PersistentVolumeClaim", "NetworkPolicy"}
    for thing in built.values():
        assert thing["metadata"]["name"] == NAME
        assert thing["metadata"]["namespace"] == project.kubernetes_namespace
    # The StatefulSet's pods carry a label of the name, a hyphen and a hash of ten characters.
    assert len(NAME) <= 63 - 11


def test_the_pod_is_confined(pod):
    spec, container = pod

    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == CONFINED
    assert "memory" in container["resources"]["limits"]
    assert {volume["name"] for volume in spec["volumes"]} == {
        mount["name"] for mount in container["volumeMounts"]
    }


def test_the_controller_finds_its_container_and_the_probes_ask_below_its_prefix(project, pod):
    _, container = pod
    prefix = f"/notebook/{project.kubernetes_namespace}/{NAME}"  # NB_PREFIX, by the controller
    (port,) = container["ports"]

    assert container["name"] == NAME
    assert (port["name"], port["containerPort"]) == ("notebook-port", 8888)
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": f"{prefix}/api", "port": "notebook-port"}


def test_without_a_token_only_kubeflow_may_reach_it(built):
    policy = built["NetworkPolicy"]["spec"]
    (rule,) = policy["ingress"]
    labels = [peer["namespaceSelector"]["matchLabels"] for peer in rule["from"]]

    assert policy["podSelector"] == {"matchLabels": {"notebook-name": NAME}}
    assert policy["policyTypes"] == ["Ingress"]
    assert {name for found in labels for name in found.values()} == {"istio-system", "kubeflow"}
    assert rule["ports"] == [{"port": 8888}]


def test_mlflow_and_the_data_come_by_reference(project, built, pod):
    settings_name = cluster.settings_name(project)
    spec, container = pod
    addresses = yaml.safe_load((project.root / "deploy/pipeline-settings.yaml").read_text())
    given, secret = container["envFrom"]
    (claim,) = [v["persistentVolumeClaim"] for v in spec["volumes"] if v["name"] == "home"]

    assert given == {"configMapRef": {"name": settings_name}}
    assert secret == {"secretRef": {"name": NAME, "optional": True}}
    assert claim == {"claimName": built["PersistentVolumeClaim"]["metadata"]["name"]}
    assert addresses["metadata"]["name"] == settings_name
    assert addresses["metadata"]["namespace"] == project.kubernetes_namespace
    Settings(**{key.lower(): value for key, value in addresses["data"].items()})


def test_a_client_of_pipelines_shows_the_mounted_token(
    pod, pipelines: Pipelines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec, container = pod
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    (source,) = next(v for v in spec["volumes"] if v["name"] == "pipelines")["projected"]["sources"]
    (folder,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "pipelines"]
    (tmp_path / "token").write_text("the-token")
    monkeypatch.setenv(kfp.KF_PIPELINES_SA_TOKEN_ENV, str(tmp_path / "token"))
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", pipelines.url)
    monkeypatch.setenv("HOME", str(tmp_path))  # the client keeps a file there

    with pytest.warns(FutureWarning, match="This client only works with"):
        kfp.Client(credentials=kfp.ServiceAccountTokenVolumeCredentials())

    assert variables.keys() == {kfp.KF_PIPELINES_SA_TOKEN_ENV, "KF_PIPELINES_ENDPOINT"}
    assert variables[kfp.KF_PIPELINES_SA_TOKEN_ENV] == f"{folder}/token"
    assert source["serviceAccountToken"]["path"] == "token"
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    assert {*pipelines.authorizations} == {"Bearer the-token"}


# The command. JupyterLab is only in the image, so a module of its name prints its arguments.


def started(project: Project, folder: Path, *options: str, **variables: str) -> list[str]:
    """The arguments that `modelloop notebook` starts JupyterLab with; the home is in `folder`."""
    (folder / "home").mkdir(exist_ok=True)
    (folder / "jupyterlab.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "modelloop", "--project", project.root, "notebook", *options],
        env={**os.environ, **variables, "HOME": str(folder / "home"), "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_in_kubeflow_it_answers_below_the_prefix_and_needs_no_token(project, tmp_path):
    arguments = started(project, tmp_path, NB_PREFIX="/notebook/team/name", NB_PORT="9999")
    assert "--ServerApp.base_url=/notebook/team/name" in arguments
    assert "--IdentityProvider.token=" in arguments
    assert "--port=9999" in arguments
    assert f"--ServerApp.root_dir={tmp_path / 'home'}" in arguments


def test_elsewhere_jupyter_makes_a_token(project, tmp_path):
    arguments = started(project, tmp_path, "--ServerApp.quit_button=False")
    assert "--ServerApp.base_url=/" in arguments
    assert "--port=8888" in arguments
    assert not [argument for argument in arguments if "token" in argument]
    assert arguments[-1] == "--ServerApp.quit_button=False"


def test_an_empty_home_gets_the_notebooks_and_what_is_there_stays(project, tmp_path):
    started(project, tmp_path)
    copied = tmp_path / "home" / "notebooks" / "explore.ipynb"
    assert copied.read_bytes() == (project.root / "notebooks" / "explore.ipynb").read_bytes()
    copied.write_text("mine")
    started(project, tmp_path)
    assert copied.read_text() == "mine"
