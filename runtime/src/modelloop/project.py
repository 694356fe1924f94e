"""The seam between the library and a repository: its answers, its folder, its team's modules.

The library imports no repository by name: `pyproject.toml` has the name of the package. Its modules
are imported at first use, so that a server never imports what only training needs.
"""

import importlib
import platform
import subprocess
import sys
import tomllib
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, ValidationError

from modelloop.addresses import without_credentials
from modelloop.errors import UserError
from modelloop.settings import Settings

FILE = "pyproject.toml"
TABLES = {".csv", ".parquet", ".pq"}  # endings of what is a table in data/
UNKNOWN = "unknown"  # the commit without git
# Attributes that are in [project], where other tools read them, too, by their names there; the
# others are in [tool.modelloop].
GENERAL = {"slug": "name", "description": "description"}

ProblemType = Literal["classification", "regression"]


class Project(BaseModel, frozen=True, extra="forbid"):
    """A model repository: its answers, folders and modules.

    Attributes:
        root: its folder, without symbolic links.
        package: the importable name of its package under `src/`.
        name: the model as people call it.
        slug: its short name: the registered model, images, deployments.
        description: what the model does, in one sentence.
        owner_team: the team that answers for it.
        contact: where that team is reached.
        problem_type: what it predicts, a category or a number.
        release_target: where it is served.
        container_registry: registry and folder of its images.
        kubernetes_namespace: the namespace it runs in; staging's has `-staging` added.
        repository_url: web address of the repository.
        grafana_url: address of Grafana.
        prometheus_url: address of Prometheus.
        gocd_url: address of the GoCD server.
    """

    root: Path
    package: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    name: str
    slug: Annotated[str, Field(pattern="^[a-z][a-z0-9-]*$")]
    description: str
    owner_team: str
    contact: str
    problem_type: ProblemType
    release_target: Literal["seldon", "azureml"]
    container_registry: str
    kubernetes_namespace: str
    repository_url: str
    grafana_url: str
    prometheus_url: str
    gocd_url: str

    @classmethod
    def of(cls, file: str) -> Self:
        """The repository of a package, by the `__file__` of its `src/<package>/__init__.py`.

        Raises:
            UserError: see `at`.
        """
        return cls.at(Path(file).resolve().parents[2])

    @classmethod
    def find(cls, folder: Path | None = None) -> Self:
        """The repository that a folder, by default the current one, lies in.

        Raises:
            UserError: there is none; or see `at`.
        """
        start = (folder or Path.cwd()).resolve()
        for candidate in (start, *start.parents):
            path = candidate / FILE
            if path.is_file() and "modelloop" in _table(path, "tool"):
                return cls.at(candidate)
        raise UserError(
            f"{start} is no model repository: no {FILE} with [tool.modelloop] there or above"
        )

    @classmethod
    def at(cls, root: Path) -> Self:
        """The repository in a folder: one object for each, with its package importable.

        Raises:
            UserError: its pyproject.toml cannot be read, or a key of it is missing, unknown or has
                a value that is not allowed; the message names file, table and key.
        """
        project = cls._read(root.resolve())
        project._make_importable()
        return project

    @classmethod
    @cache
    def _read(cls, root: Path) -> Self:
        path = root / FILE
        answers, general = _table(path, "tool", "modelloop"), _table(path, "project")
        reserved = [key for key in ("root", *GENERAL) if key in answers]
        if reserved:
            raise UserError(f"{path}: {'; '.join(map(_unknown, reserved))}")
        answers |= {field: general[key] for field, key in GENERAL.items() if key in general}
        try:
            return cls.model_validate(answers | {"root": root})
        except ValidationError as error:
            raise UserError(f"{path}: {_explained(error)}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it as its folder: modules that it has imported cannot go to another process."""
        return Project.at, (self.root,)

    @property
    def settings(self) -> Settings:
        """The environment as it is now, with this repository's defaults.

        Raises:
            UserError: a variable has a value that is not allowed; the message names it.
        """
        tables = self.tables
        return Settings.read(
            data_uri=str(tables[0]) if len(tables) == 1 else "",
            mlflow_experiment=self.slug,
            model_dir=self.root / "build" / "model",
            serve_python=self.root / ".venv-serve" / "bin" / "python",
            prometheus_url=self.prometheus_url,
        )

    @property
    def tables(self) -> list[Path]:
        """The tables in data/, by name; none in the server's image."""
        return [p for p in sorted((self.root / "data").glob("*")) if TABLES & {*p.suffixes}]

    # The team's modules, each imported at first use. They are `Any`: what a team writes is checked
    # where it is used.

    @cached_property
    def data(self) -> Any:
        """`data.py`: SCHEMA, DUPLICATES and `load`."""
        return self._module("data")

    @cached_property
    def model(self) -> Any:
        """`model.py`: TARGET, FEATURES, CANDIDATES, GATE and the split."""
        return self._module("model")

    @cached_property
    def features(self) -> ModuleType:
        """`features.py`: the team's own transformers, TRUSTED_PACKAGES."""
        return self._module("features")

    @cached_property
    def metrics(self) -> Any:
        """`metrics.py`: the team's own metrics, `observe`."""
        return self._module("metrics")

    @cached_property
    def pipeline(self) -> Any:
        """`pipeline.py`: the Kubeflow pipelines `training` and `scoring`."""
        return self._module("pipeline")

    @cached_property
    def serving(self) -> Any:
        """`serving.py`: the class `Model` with Seldon's methods."""
        return self._module("serving")

    def source(self, name: str) -> Path:
        """The path of a module of the package, such as `model`."""
        return self.root / "src" / self.package / f"{name}.py"

    def _module(self, name: str) -> ModuleType:
        self._make_importable()
        module = importlib.import_module(f"{self.package}.{name}")
        file = Path(module.__file__ or "").resolve()
        if not file.is_relative_to(self.source("__init__").resolve().parent):
            raise UserError(
                f"{self.root}: another package {self.package!r} is imported already, {file}; one "
                "process can use only one of a name"
            )
        return module

    def _make_importable(self) -> None:
        """Put src/ first, for another repository or an installed package may have the same name."""
        sources = str(self.root / "src")
        if sys.path[:1] != [sources]:
            sys.path[:] = [sources, *(entry for entry in sys.path if entry != sources)]

    # Where things are.

    @property
    def build(self) -> Path:
        """The folder of everything that can be made again."""
        return self.root / "build"

    @property
    def mlruns(self) -> Path:
        """The folder of the local MLflow store."""
        return self.root / "mlruns"

    @property
    def shown_tracking_uri(self) -> str:
        """The address of the MLflow store, without credentials."""
        return without_credentials(self.settings.mlflow_tracking_uri) or str(self.mlruns)

    # Which code this is.

    @property
    def commit(self) -> str:
        """The git commit of this code; `-dirty` is added when the work tree differs from it."""
        return self.settings.git_commit or _described(self.root)

    @property
    def is_committed(self) -> bool:
        """Whether this code is that of a commit, which git can restore."""
        return self.commit != UNKNOWN and not self.commit.endswith("-dirty")

    @property
    def tag(self) -> str:
        """The short commit, for names of images and of pipeline versions."""
        commit, dirty, _ = self.commit.partition("-dirty")
        return commit[:12] + dirty

    @property
    def image(self) -> str:
        """The image of the pipeline's steps: PIPELINE_IMAGE, else the one of this commit."""
        return self.settings.pipeline_image or self.image_of("python")

    def image_of(self, part: str) -> str:
        """An image's address, tagged by commit: caching never serves old code."""
        return f"{self.container_registry}/{self.slug}-{part}:{self.tag}"


def python_version() -> str:
    """The running Python, such as `3.12.1`."""
    return platform.python_version()


def _table(path: Path, *names: str) -> dict[str, Any]:
    """A table of a TOML file; empty if there is none.

    Raises:
        UserError: the file cannot be read, or something else has that name.
    """
    table: object = _parsed(path)
    for name in names:
        table = table.get(name, {}) if isinstance(table, dict) else table
    if not isinstance(table, dict):
        raise UserError(f"{path}: [{'.'.join(names)}] is no table")
    return table


def _explained(error: ValidationError) -> str:
    """Every fault, as `[table] key: what is wrong`, joined by semicolons."""
    faults = []
    for fault in error.errors():
        field = str(fault["loc"][0])
        if fault["type"] == "extra_forbidden":
            faults.append(_unknown(field))
        elif field in GENERAL:
            faults.append(f"[project] {GENERAL[field]}: {fault['msg']}")
        else:
            faults.append(f"[tool.modelloop] {field}: {fault['msg']}")
    return "; ".join(faults)


def _unknown(key: str) -> str:
    known = [field for field in Project.model_fields if field not in ("root", *GENERAL)]
    return f"[tool.modelloop] {key}: no such key; there are {', '.join(known)}"


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from error


def _described(root: Path) -> str:
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
        )
    except OSError:  # there is no git
        return UNKNOWN
    return described.stdout.strip() if described.returncode == 0 else UNKNOWN
