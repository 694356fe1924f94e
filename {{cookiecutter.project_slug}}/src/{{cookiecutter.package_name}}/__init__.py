"""The model of this repository."""

import os

# Libraries that send usage data unless told not to; they look when they are imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
