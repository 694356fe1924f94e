"""Batch scoring on a cluster: the same function as `make batch`, as a pipeline of one step."""

from kfp import dsl

from .. import project
from . import cluster
from .components import component


@component
def score(input: str, output: str, alias: str) -> int:
    """Score a file; returns how many rows were scored."""
    from {{ cookiecutter.package_name }} import batch, settings

    report = batch.run(settings.load(), input, output, alias)
    print(report)
    return report.rows - report.refused


@dsl.pipeline(name=f"{project.SLUG}-batch", description="Score a file with the released model")
def scoring(input: str, output: str, alias: str = "champion"):
    """Score a file.

    Args:
        input: address of a CSV or Parquet file, such as s3://bucket/rows.parquet.
        output: address of the file to write.
        alias: which version of the registry scores it.
    """
    scored = score(input=input, output=output, alias=alias)
    # The same address may hold other rows, and the alias name another version.
    cluster.configure(scored.set_caching_options(False))
