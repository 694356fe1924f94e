"""The image of the notebook server, started as Kubeflow starts it, confined."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from test_loop import free_port, mlflow_server

from .conftest import MARK, Company, Image
from .engine import Engine

pytestmark = pytest.mark.slow

LOOK = Path(__file__).with_name("look.py").read_text()
PREFIX = "/notebook/models/penguins-notebook"
EXECUTE = """
import json
import nbformat
from nbclient import NotebookClient
book = nbformat.read("notebooks/explore.ipynb", as_version=4)
NotebookClient(book, timeout=120, resources={"metadata": {"path": "notebooks"}}).execute()
print(json.dumps({cell.id: cell.get("outputs", []) for cell in book.cells}))
"""


def volume(folder: Path) -> tuple[str, str]:
    """Options that make a folder the home directory, which anybody may write as with an fsGroup."""
    folder.chmod(0o777)
    return "--volume", f"{folder}:/home/jovyan"


@dataclass(frozen=True)
class Server:
    """A running notebook server."""

    name: str
    url: str


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def notebook_server(
    podman: Engine,
    notebook_image: Image,
    mlflow: str,
    tmp_path_factory: pytest.TempPathFactory,
    measured: dict[str, str],
) -> Iterator[Server]:
    port = free_port()
    url = f"http://127.0.0.1:{port}{PREFIX}"
    given = {"NB_PREFIX": PREFIX, "NB_PORT": str(port), "MLFLOW_TRACKING_URI": mlflow}
    variables = [part for key, value in given.items() for part in ("--env", f"{key}={value}")]
    options = (*volume(tmp_path_factory.mktemp("home")), *variables)
    start = time.monotonic()
    with podman.container(notebook_image.tag, options=options, ready=f"{url}/api") as name:
        measured["notebook container, start to ready"] = f"{time.monotonic() - start:.1f} s"
        yield Server(name, url)


def test_it_holds_the_code_and_neither_model_nor_tools(
    company: Company, podman: Engine, notebook_image: Image
):
    options = ("--entrypoint", "python")
    found = json.loads(podman.run(notebook_image.tag, "-c", LOOK, options=options))
    shown = json.loads(podman.podman("image", "inspect", notebook_image.tag).stdout)[0]
    model = json.loads((company.repository.folder / "build/model.json").read_text())

    assert found["app"] == ["data", "notebooks", "pyproject.toml", "src"]
    assert found["user"] == 1000
    assert found["sources"] > 1000
    assert found["checks"] == [1]
    for nothing in ("uncompiled", "unreadable", "writable", "tools", "caches"):
        assert found[nothing] == [], nothing
    assert [path for path in found["installers"] if path.endswith("site-packages/pip")] == []
    assert MARK not in podman.podman("history", "--no-trunc", notebook_image.tag).stdout
    assert f"GIT_COMMIT={model['git_commit']}" in shown["Config"]["Env"]


def test_it_shares_the_environment_with_the_image_of_the_steps(
    podman: Engine, notebook_image: Image, train_image: Image, app_image: Image
):
    def layers(image: Image) -> list[str]:
        shown = json.loads(podman.podman("image", "inspect", image.tag).stdout)[0]
        return shown["RootFS"]["Layers"]

    # The base, and the environment on top of it.
    assert layers(notebook_image)[:2] == layers(train_image)[:2] == layers(app_image)[:2]


def test_under_kubeflows_prefix_it_asks_for_no_token(podman: Engine, notebook_server: Server):
    with urllib.request.urlopen(f"{notebook_server.url}/api/contents/notebooks") as response:
        found = [item["name"] for item in json.load(response)["content"]]
    healthy = podman.podman("healthcheck", "run", notebook_server.name, check=False)
    assert found == ["explore.ipynb"]
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr


def test_without_kubeflow_it_asks_for_a_token(
    podman: Engine, notebook_image: Image, tmp_path: Path
):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = (*volume(tmp_path), "--env", f"NB_PORT={port}")
    with (
        podman.container(notebook_image.tag, options=options, ready=f"{url}/api"),
        pytest.raises(urllib.error.HTTPError) as refused,
    ):
        urllib.request.urlopen(f"{url}/api/contents", timeout=10)
    refused.value.close()
    assert refused.value.code == 403


def test_the_notebook_runs_in_it(podman: Engine, notebook_server: Server, measured: dict[str, str]):
    start = time.monotonic()
    done = podman.podman("exec", notebook_server.name, "python", "-c", EXECUTE)
    measured["notebook in its container, top to bottom"] = f"{time.monotonic() - start:.0f} s"
    outputs = json.loads(done.stdout.splitlines()[-1])
    (table,) = outputs["gate"]
    assert "no champion yet: the floors alone decide" in table["text"]
    assert table["text"].rstrip().splitlines()[-1] in ("gate: pass", "gate: reject")


def test_what_is_in_the_volume_stays(podman: Engine, notebook_image: Image, tmp_path: Path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "mine.ipynb").write_text("mine")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = (*volume(tmp_path), "--env", f"NB_PORT={port}")
    with podman.container(notebook_image.tag, options=options, ready=f"{url}/api"):
        pass
    (kept,) = (tmp_path / "notebooks").iterdir()
    assert kept.read_text() == "mine"
