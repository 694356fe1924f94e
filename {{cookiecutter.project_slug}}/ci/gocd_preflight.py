"""Let a GoCD server say whether it would take these pipeline files.

python ci/gocd_preflight.py FILE... asks the server at GOCD_URL, with the access token of an
administrator in the file GOCD_TOKEN_FILE. The server only looks: nothing is changed there.
"""

import os
import sys
from pathlib import Path

import requests

PATH = "/go/api/admin/config_repo_ops/preflight"
PLUGIN = {"pluginId": "yaml.config.plugin"}
# GoCD compares the whole header; another one would be a 404.
ACCEPT = "application/vnd.go.cd.v1+json"
SECONDS = 60


def main(paths: list[str]) -> int:
    """Send the files; returns the exit code, 1 with the server's reasons where it refuses."""
    missing = [name for name in ("GOCD_URL", "GOCD_TOKEN_FILE") if not os.environ.get(name)]
    if missing or not paths:
        print(f"needed: {', '.join(missing) or 'the files to check'}\n\n{__doc__}", file=sys.stderr)
        return 2
    try:
        faults = preflight(
            os.environ["GOCD_URL"], Path(os.environ["GOCD_TOKEN_FILE"]), [*map(Path, paths)]
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors
        print(f"error: {error}", file=sys.stderr)
        return 1
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(f"GoCD takes {', '.join(paths)}")
    return 1 if faults else 0


def preflight(url: str, token_file: Path, files: list[Path]) -> list[str]:
    """Ask a server; returns its faults, none where it takes the files.

    Raises:
        OSError: a file cannot be read, or the server does not answer.
        ValueError: the server answers something else.
    """
    answer = requests.post(
        url.rstrip("/") + PATH,
        params=PLUGIN,
        headers={
            "Authorization": f"bearer {token_file.read_text(encoding='utf-8').strip()}",
            "Accept": ACCEPT,
        },
        files=[("files[]", (file.name, file.read_bytes())) for file in files],
        timeout=SECONDS,
    )
    if answer.status_code != 200:
        raise ValueError(f"GoCD at {url} answers {answer.status_code}: {answer.text.strip()[:500]}")
    said = answer.json()
    return [] if said["valid"] else said["errors"] or ["the server gives no reason"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
