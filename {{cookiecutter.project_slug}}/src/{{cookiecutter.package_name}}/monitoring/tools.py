"""The programs of Prometheus and Alertmanager: installed ones, else Debian's, unpacked here."""

import os
import shutil
import subprocess
from pathlib import Path

from ..errors import UserError
from ..settings import ROOT

PROGRAMS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
PACKAGES = ("prometheus", "prometheus-alertmanager")  # of Debian, 30 MB; 2.42 and 0.25 or newer
# Debian's Alertmanager reads its templates where it is installed; unpacked, from the folder it is
# started in. Both paths have one length, as a program's texts must.
INSTALLED, UNPACKED = b"/usr/share/prometheus/alertmanager", b"usr/share/prometheus/alertmanager/"
# Elsewhere than in Debian, Alertmanager's program has its own name.
OTHER_NAMES = {"prometheus-alertmanager": "alertmanager"}


def folder() -> Path:
    """Where downloaded programs are kept; MONITORING_TOOLS lets repositories share them."""
    return Path(os.environ.get("MONITORING_TOOLS") or ROOT / "build" / "tools")


def find(name: str) -> Path:
    """The program of that name.

    Raises:
        UserError: it is neither installed nor downloaded.
    """
    for candidate in (name, OTHER_NAMES.get(name, name)):
        found = shutil.which(candidate)
        if found:
            return Path(found)
    downloaded = folder() / "usr" / "bin" / name
    if downloaded.exists():
        return downloaded
    raise UserError(f"there is no {name}: `make monitor` downloads it, or says what to install")


def working_folder() -> Path:
    """Where a downloaded Alertmanager must be started; an installed one may be, too."""
    return folder() if folder().is_dir() else ROOT


def provide() -> None:
    """Download what is not installed; needs no root and starts no daemon.

    Raises:
        UserError: this system has not Debian's package manager, or the download failed.
    """
    try:
        for name in PROGRAMS:
            find(name)
    except UserError:
        _download()


def _download() -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise UserError(
            "Prometheus and Alertmanager are not installed, and this system has no apt-get to "
            "download them with. Install prometheus, promtool, alertmanager and amtool (with "
            "Homebrew: brew install prometheus alertmanager), then try again."
        )
    print(f"Downloading {' and '.join(PACKAGES)} into {folder()}", flush=True)
    folder().mkdir(parents=True, exist_ok=True)
    if _apt("download", *PACKAGES).returncode != 0:
        # No package lists, or old ones: fetch them into the folder, for root's are not ours.
        lists = folder() / "lists"
        lists.mkdir(exist_ok=True)
        private = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder()}")
        done = _apt(*private, "update")
        if done.returncode == 0:
            done = _apt(*private, "download", *PACKAGES)
        shutil.rmtree(lists)
        if done.returncode != 0:
            raise UserError(f"apt-get cannot download {PACKAGES}: {done.stderr.strip()}")
    for package in folder().glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder()], check=True)
        package.unlink()
    program = folder() / "usr" / "bin" / "prometheus-alertmanager"
    program.write_bytes(program.read_bytes().replace(INSTALLED, UNPACKED))


def _apt(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", *arguments], cwd=folder(), capture_output=True, text=True)
