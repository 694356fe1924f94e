"""podman with settings and a store of the tests' own, a base image without a registry, a registry.

Nothing of the machine is changed and nothing is left: store and settings are in one folder, in
memory where that is possible (it is ten times as fast).
"""

import os
import platform
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ROOT
from test_loop import free_port, running

CACHE = ROOT / "build" / "containers"
BASE = "localhost/python:slim"
MINUTES = 60
MEMORY = Path("/dev/shm")
PROGRAMS = ("podman", "runc", "mmdebstrap")
DEBIAN = ("python3", "python3-venv", "ca-certificates")
# What a strict cluster allows: the tests run everything so.
CONFINED = (
    "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--cap-drop", "all",
    "--security-opt", "no-new-privileges", "--user", "1000", "--network", "host", "--pull=never",
)  # fmt: skip


class UnusableError(Exception):
    """Containers cannot be run here."""


class Engine:
    """podman, as the tests use it.

    Attributes:
        folder: where all of it lies.
        environment: makes any podman use these settings.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tmp").mkdir()
        (folder / "containers.conf").write_text(_settings(folder))
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/store"\n'
            f'runroot = "{folder}/run"\n'
        )
        self.environment = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder / "tmp"),  # of images while they are built, and of pip's cache
        }

    def podman(
        self, *arguments: str | Path, check: bool = True, seconds: float = 5 * MINUTES
    ) -> subprocess.CompletedProcess[str]:
        """Run podman; an error is shown with what it said."""
        done = subprocess.run(
            ["podman", *arguments],
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def run(self, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
        """Run a command in a confined container until it ends; returns what it printed."""
        return self.podman("run", "--rm", *CONFINED, *options, image, *command).stdout

    @contextmanager
    def container(
        self, image: str, *command: str, options: tuple[str, ...] = (), ready: str
    ) -> Iterator[str]:
        """Run a confined container while the block runs; yields its name.

        Args:
            image: its image.
            command: instead of the image's own.
            options: more options of `podman run`.
            ready: answers 200 when it is ready.
        """
        name = f"tests-{free_port()}"
        start = ("podman", "run", "--name", name, *CONFINED, *options, image, *command)
        environment = os.environ | self.environment
        try:
            with running(ready, *start, folder=self.folder, environment=environment):
                yield name
        finally:
            self.podman("rm", "--force", "--time=0", "--ignore", name)


@contextmanager
def engine() -> Iterator[Engine]:
    """An engine with the base image in its store.

    Raises:
        UnusableError: a program or a right is missing; the message says which.
    """
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise UnusableError(f"there is no {', '.join(missing)}")
    if os.geteuid():
        raise UnusableError("only root can make the base image")
    place = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="containers-", dir=place))
    try:
        made = Engine(folder)
        try:
            made.podman("import", "--change=ENV LANG=C.UTF-8", _base(), BASE)
            made.podman("run", "--rm", *CONFINED, BASE, "python", "-c", "")
        except (AssertionError, subprocess.SubprocessError) as error:
            raise UnusableError(f"containers cannot be run here: {error}") from error
        try:
            yield made
        finally:
            made.podman("rm", "--all", "--force", "--time=0")
    finally:
        subprocess.run(["umount", folder / "store" / "overlay"], capture_output=True)
        shutil.rmtree(folder)


def _settings(folder: Path) -> str:
    """Limits that podman may set here, no systemd, no journal, no file of the machine's podman."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    _, processes = resource.getrlimit(resource.RLIMIT_NPROC)
    files = 1048576 if files == resource.RLIM_INFINITY else files
    # podman lowers its own limit to this number before it starts a container.
    most = int(Path("/proc/sys/kernel/pid_max").read_text())
    processes = most if processes == resource.RLIM_INFINITY else min(processes, most)
    limits = f'"nofile={files}:{files}", "nproc={processes}:{processes}"'
    return (
        f"[containers]\ndefault_ulimits = [{limits}]\n"
        'pids_limit = 0\nlog_driver = "k8s-file"\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{folder}/libpod"\nlock_type = "file"\n'
    )


def _base() -> Path:
    """An archive of what stands in for Docker Hub's Python image, made of Debian's packages."""
    archive = CACHE / "base.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        made = archive.with_suffix(".new.tar")
        texts = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
        sources = [*Path("/etc/apt").glob("sources.list"), *Path("/etc/apt").glob("*.list.d/*")]
        release = platform.freedesktop_os_release()["VERSION_CODENAME"]
        subprocess.run(
            [
                "mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io",
                f"--include={','.join(DEBIAN)}", *texts,
                '--customize-hook=ln -s /usr/bin/python3 "$1/usr/local/bin/python"',
                '--customize-hook=rm -rf "$1"/etc/apt/sources.list* "$1"/var/lib/apt/lists/*'
                ' "$1"/var/cache/apt/*.bin',
                release, made, *sources,
            ],
            env=os.environ | ({"TMPDIR": str(MEMORY)} if MEMORY.is_dir() else {}),
            check=True,
            timeout=10 * MINUTES,
            capture_output=True,
        )  # fmt: skip
        made.rename(archive)
    return archive


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry of images on 127.0.0.1 that keeps them in a folder; yields its address."""
    program = shutil.which("docker-registry") or CACHE / "docker-registry/usr/bin/docker-registry"
    if not Path(program).exists():
        raise UnusableError("there is no docker-registry")
    address = f"127.0.0.1:{free_port()}"
    config = folder / "registry.yml"
    config.write_text(
        "version: 0.1\nlog: {accesslog: {disabled: true}, level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
        f"http: {{addr: '{address}'}}\n"
    )
    with running(
        f"http://{address}/v2/", program, "serve", config, folder=folder, environment={**os.environ}
    ):
        yield address
