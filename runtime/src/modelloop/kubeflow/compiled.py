"""Compile the pipelines to the YAML that a cluster runs."""

from pathlib import Path

import yaml
from kfp import compiler
from kfp.dsl.base_component import BaseComponent

from modelloop.errors import UserError
from modelloop.kubeflow.portable import faults


def write(pipeline: BaseComponent, path: Path) -> Path:
    """Compile a pipeline to IR YAML and check it; returns the path.

    Raises:
        UserError: laptop and cluster would not run the pipeline alike; every fault is named.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline, str(path))
    with path.open(encoding="utf-8") as file:
        found = faults(*yaml.safe_load_all(file))
    if found:
        path.unlink()
        raise UserError("the pipeline is not portable\n" + "\n".join(f"  {f}" for f in found))
    return path
