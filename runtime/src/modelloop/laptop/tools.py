"""The programs of Prometheus and Alertmanager: installed ones, else Debian's, unpacked here."""

import os
import shutil
import subprocess
from pathlib import Path

from modelloop.errors import UserError
from modelloop.project import Project

PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
PACKAGES = ("prometheus", "prometheus-alertmanager")  # of Debian, 30 MB; 2.42 and 0.25 or newer
# Debian's Alertmanager reads its templates where it is installed; unpacked, from the folder it is
# started in. Both paths have one length, as a program's texts must.
INSTALLED, UNPACKED = b"/usr/share/prometheus/alertmanager", b"usr/share/prometheus/alertmanager/"
# Elsewhere than in Debian, Alertmanager's program has its own name.
OTHER_NAMES = {"prometheus-alertmanager": "alertmanager"}


def folder(project: Project) -> Path:
    """Where downloaded programs are kept; MONITORING_TOOLS lets repositories share them."""
    return Path(os.environ.get("MONITORING_TOOLS") or project.build / "tools")


def find(project: Project, name: str) -> Path:
    """The program of that name.

    Raises:
        UserError: it is neither installed nor downloaded.
    """
    for candidate in (name, OTHER_NAMES.get(name, name)):
        found = shutil.which(candidate)
        if found:
            return Path(found)
    downloaded = folder(project) / "usr" / "bin" / name
    if downloaded.exists():
        return downloaded
    raise UserError(f"there is no {name}: `make monitor` downloads it, or says what to install")


def working_folder(project: Project) -> Path:
    """Where a downloaded Alertmanager must be started; an installed one may be, too."""
    return folder(project) if folder(project).is_dir() else project.root


def provide(project: Project) -> None:
    """Download what is not installed; needs no root and starts no daemon.

    Raises:
        UserError: this system has not Debian's package manager, or the download failed.
    """
    try:
        for name in PROGRAMS:
            find(project, name)
    except UserError:
        _download(project)


def _download(project: Project) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise UserError(
            "Prometheus and Alertmanager are not installed, and this system has no apt-get to "
            "download them with. Install prometheus, promtool, alertmanager and amtool (with "
            "Homebrew: brew install prometheus alertmanager), then try again."
        )
    print(f"Downloading {' and '.join(PACKAGES)} into {folder(project)}", flush=True)
    folder(project).mkdir(parents=True, exist_ok=True)
    if _apt(project, "download", *PACKAGES).returncode != 0:
        # No package lists, or old ones: fetch them into the folder, for root's are not ours.
        lists = folder(project) / "lists"
        lists.mkdir(exist_ok=True)
        private = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder(project)}")
        done = _apt(project, *private, "update")
        if done.returncode == 0:
            done = _apt(project, *private, "download", *PACKAGES)
        shutil.rmtree(lists)
        if done.returncode != 0:
            raise UserError(f"apt-get cannot download {PACKAGES}: {done.stderr.strip()}")
    for package in folder(project).glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder(project)], check=True)
        package.unlink()
    program = folder(project) / "usr" / "bin" / "prometheus-alertmanager"
    program.write_bytes(program.read_bytes().replace(INSTALLED, UNPACKED))


def _apt(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *arguments], cwd=folder(project), capture_output=True, text=True
    )
