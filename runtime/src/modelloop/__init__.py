"""The machinery of a model repository: data, training, gate, registry, release, serving, watching.

The public names are listed in `__all__` and described in docs/api.md; everything else may change
in any version. They are imported when they are first used, so that a model server loads neither
pandas nor MLflow nor Kubeflow.
"""

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from modelloop.lazy import exports

# Libraries that send usage data unless told not to; they look when they are imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from modelloop.contract.contract import Contract
    from modelloop.errors import UserError
    from modelloop.project import Project
    from modelloop.table.read import read_table
    from modelloop.table.split import by_content, by_group, by_time
    from modelloop.training.gate import Gate

__version__ = version("modelloop")

__all__ = [
    "Contract",
    "Gate",
    "Project",
    "UserError",
    "by_content",
    "by_group",
    "by_time",
    "read_table",
]

__getattr__ = exports(
    __name__,
    {
        "Contract": "modelloop.contract.contract",
        "Gate": "modelloop.training.gate",
        "Project": "modelloop.project",
        "UserError": "modelloop.errors",
        "by_content": "modelloop.table.split",
        "by_group": "modelloop.table.split",
        "by_time": "modelloop.table.split",
        "read_table": "modelloop.table.read",
    },
)
