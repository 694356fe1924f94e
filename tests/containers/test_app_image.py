"""The image of the demo, in front of the image of the server; both confined."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_loop import free_port

from .conftest import MARK, Company, Image
from .engine import Engine

pytestmark = pytest.mark.slow

LOOK = Path(__file__).with_name("look.py").read_text()
# What a browser would make the page do, without one.
PAGE = """
import json
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app/demo.py", default_timeout=60).run()
print(json.dumps({
    "titles": [title.value for title in page.title],
    "tabs": [tab.label for tab in page.tabs],
    "errors": [error.value for error in page.error],
    "exceptions": [exception.value for exception in page.exception],
}))
"""


def page_of(podman: Engine, image: Image, url: str) -> dict:
    """What the page shows when it asks a server."""
    options = ("--env", f"MODEL_URL={url}", "--entrypoint", "python")
    return json.loads(podman.run(image.tag, "-c", PAGE, options=options).splitlines()[-1])


@pytest.fixture(scope="module")
def model_url(podman: Engine, serve_image: Image) -> Iterator[str]:
    """The address of a server."""
    port = free_port()
    ports = ("--env", f"SERVE_PORT={port}", "--env", f"METRICS_PORT={free_port()}")
    url = f"http://127.0.0.1:{port}"
    with podman.container(serve_image.tag, options=ports, ready=f"{url}/health/status"):
        yield url


def test_it_holds_the_demo_and_neither_model_nor_tools(
    company: Company, podman: Engine, app_image: Image
):
    options = ("--entrypoint", "python")
    found = json.loads(podman.run(app_image.tag, "-c", LOOK, options=options))
    shown = json.loads(podman.podman("image", "inspect", app_image.tag).stdout)[0]
    model = json.loads((company.repository.folder / "build/model.json").read_text())

    assert found["app"] == [".streamlit", "app", "docs", "pyproject.toml", "src"]
    assert found["user"] == 1000
    assert found["sources"] > 1000
    assert found["checks"] == [1]
    for nothing in ("uncompiled", "unreadable", "writable", "tools", "caches"):
        assert found[nothing] == [], nothing
    assert [path for path in found["installers"] if path.endswith("site-packages/pip")] == []
    assert MARK not in podman.podman("history", "--no-trunc", app_image.tag).stdout
    assert shown["Config"]["Labels"]["org.opencontainers.image.revision"] == model["git_commit"]


def test_it_starts_confined_and_answers(podman: Engine, app_image: Image, measured: dict[str, str]):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ("--env", f"STREAMLIT_SERVER_PORT={port}")
    start = time.monotonic()
    with podman.container(app_image.tag, options=options, ready=f"{url}/_stcore/health") as name:
        measured["app container, start to ready"] = f"{time.monotonic() - start:.1f} s"
        with urllib.request.urlopen(url, timeout=10) as response:
            page = response.read().decode()
        healthy = podman.podman("healthcheck", "run", name, check=False)
    assert "<title>Streamlit</title>" in page
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr


def test_its_page_is_of_the_model_that_the_server_serves(
    podman: Engine, app_image: Image, model_url: str
):
    page = page_of(podman, app_image, model_url)
    assert (page["errors"], page["exceptions"]) == ([], [])
    assert page["titles"] == ["penguins"]
    assert len(page["tabs"]) == 3


def test_its_page_says_so_when_there_is_no_server(podman: Engine, app_image: Image):
    page = page_of(podman, app_image, f"http://127.0.0.1:{free_port()}")
    assert page["exceptions"] == []
    assert len(page["errors"]) == 1
    assert page["tabs"] == []
