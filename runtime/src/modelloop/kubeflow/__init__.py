"""Kubeflow Pipelines: run here, compile, upload, submit, schedule."""
