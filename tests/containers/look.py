"""Print as JSON what a user of an image finds in it; runs in a container."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

PLACES = [Path("/opt/venv"), Path("/app")]
TOOLS = ("pip", "pip3", "uv", "gcc", "cc", "make")

paths = [path for place in PLACES for path in (place, *place.rglob("*"))]
sources = [path for path in paths if path.suffix == ".py" and path.is_file()]
compiled = {source: Path(importlib.util.cache_from_source(str(source))) for source in sources}
found = {
    "sources": len(sources),
    "uncompiled": [str(path) for path, code in compiled.items() if not code.exists()],
    # 0: compared with the source by time, 1: not compared, 3: compared by its hash.
    "checks": sorted({code.read_bytes()[4] for code in compiled.values() if code.exists()}),
    "unreadable": [str(path) for path in paths if not os.access(path, os.R_OK)],
    "writable": [str(p) for p in paths if not p.is_symlink() and os.stat(p).st_mode & 0o022],
    "owners": sorted({path.lstat().st_uid for path in paths}),
    "tools": [tool for tool in TOOLS if shutil.which(tool)],
    "installers": [str(path) for path in paths if path.name in ("pip", "setuptools")],
    "caches": [path for path in ("/root/.cache", "/run/secrets") if os.path.exists(path)],
    "app": sorted(os.listdir("/app")),
    "user": os.getuid(),
}
print(json.dumps(found))
