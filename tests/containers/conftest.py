"""Images of a rendered repository, built once for all tests, by the repository's own code."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from repository import Repository
from test_loop import PACKAGE, own_render

from .engine import BASE, Engine, UnusableError, engine, registry

MARK = "a-secret-of-the-build"
MEASURED = pytest.StashKey[dict[str, str]]()
BUILD = f"""
import json, os
from {PACKAGE} import project
from modelloop import UserError
from modelloop.registry.model_reference import ModelReference
from modelloop.release import images
model = None
if os.environ["KIND"] == "serve":
    given = {{"contract_sha256": os.environ["SHA256"]}} if "SHA256" in os.environ else {{}}
    model = ModelReference.read(project).model_copy(update=given)
try:
    images.build(project, os.environ["KIND"], os.environ["TAG"], model)
    answer = {{}}
except UserError as error:
    answer = {{"error": str(error)}}
print("\\n" + json.dumps(answer))
"""


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(MEASURED, {})


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for what, figure in config.stash.get(MEASURED, {}).items():
        terminalreporter.write_line(f"measured: {what}: {figure}")


@pytest.fixture(scope="session")
def measured(pytestconfig: pytest.Config) -> dict[str, str]:
    """Figures that are shown at the end."""
    return pytestconfig.stash.setdefault(MEASURED, {})


@pytest.fixture(scope="session")
def podman() -> Iterator[Engine]:
    """An engine of the tests' own."""
    try:
        with engine() as made:
            yield made
    except UnusableError as error:
        pytest.skip(f"no containers: {error}")


@dataclass(frozen=True)
class Company:
    """A repository, the registry it pushes to, and the secrets of its builds."""

    repository: Repository
    engine: Engine
    registry: str
    variables: dict[str, str]

    def build(self, kind: str, tag: str, **variables: str) -> dict[str, str]:
        """Build an image; answers the error, if there is one."""
        given = self.engine.environment | self.variables | variables
        return self.repository.ask(BUILD, KIND=kind, TAG=tag, **given)


@pytest.fixture(scope="session")
def company(
    podman: Engine, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Company]:
    """A repository with a challenger in build/model."""
    folder = tmp_path_factory.mktemp("company")
    try:
        with registry(podman.folder) as address:
            repository = own_render(template, folder, {"container_registry": f"{address}/models"})
            done = repository.make("candidate", "model", ALIAS="challenger")
            assert done.returncode == 0, done.stdout + done.stderr
            for path in (repository.folder / "src").rglob("*"):  # as under a strict umask
                path.chmod(path.stat().st_mode & 0o700)
            yield Company(repository, podman, address, company_variables(folder))
    except UnusableError as error:
        pytest.skip(f"no containers: {error}")


def company_variables(folder: Path) -> dict[str, str]:
    """How a company sets the build: its base image, its mirror, its certificates."""
    files = {
        "pip_conf": Path(os.environ.get("PIP_CONFIG_FILE", "/etc/pip.conf")),
        "ca_bundle": Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")),
    }
    secrets = []
    for name, source in files.items():
        text = source.read_text() if source.is_file() else ""
        (folder / name).write_text(f"{text}\n# {MARK}\n")
        secrets.append(f"--secret id={name},src={folder / name}")
    return {
        "CONTAINER_TOOL": "podman",
        "PYTHON_IMAGE": BASE,
        "CONTAINER_BUILD_ARGS": f"--pull=never --network host {' '.join(secrets)}",
        "CONTAINER_PUSH_ARGS": "--tls-verify=false",
    }


@dataclass(frozen=True)
class Image:
    """An image that was built: its tag here, its digest in the registry if it was pushed."""

    tag: str
    digest: str


@pytest.fixture(scope="session")
def serve_image(company: Company, measured: dict[str, str]) -> Image:
    """The server with the challenger inside, as `make package` makes it."""
    tag = f"{company.registry}/models/penguins-serve:1"
    start = time.monotonic()
    done = company.repository.make("package", **company.engine.environment, **company.variables)
    assert done.returncode == 0, done.stdout + done.stderr
    model = json.loads((company.repository.folder / "build/model.json").read_text())
    size = int(company.engine.podman("image", "inspect", "--format={{.Size}}", tag).stdout)
    seconds = time.monotonic() - start
    measured["serve image"] = f"{size / 1e6:.0f} MB, built and pushed in {seconds:.0f} s"
    return Image(tag, model["package"])


@pytest.fixture(scope="session")
def train_image(company: Company, measured: dict[str, str]) -> Image:
    """The image of the pipeline's steps, under the name that the pipeline gives it."""
    code = f"import json; from {PACKAGE} import project; print(json.dumps(project.image))"
    tag = company.repository.ask(code)
    start = time.monotonic()
    made = company.build("train", tag)  # not pushed: it is large, and runs here
    assert made == {}
    size = int(company.engine.podman("image", "inspect", "--format={{.Size}}", tag).stdout)
    seconds = time.monotonic() - start
    measured["train image"] = f"{size / 1e6:.0f} MB, built in {seconds:.0f} s"
    return Image(tag, "")


@pytest.fixture(scope="session")
def app_image(company: Company, measured: dict[str, str]) -> Image:
    """The demo."""
    return _built(company, "app", measured)


@pytest.fixture(scope="session")
def notebook_image(company: Company, measured: dict[str, str]) -> Image:
    """The notebook server."""
    return _built(company, "notebook", measured)


def _built(company: Company, kind: str, measured: dict[str, str]) -> Image:
    """Build an image that is not pushed."""
    tag = f"{company.registry}/models/penguins-{kind}:1"
    start = time.monotonic()
    made = company.build(kind, tag)
    assert made == {}
    size = int(company.engine.podman("image", "inspect", "--format={{.Size}}", tag).stdout)
    seconds = time.monotonic() - start
    measured[f"{kind} image"] = f"{size / 1e6:.0f} MB, built in {seconds:.0f} s"
    return Image(tag, "")
