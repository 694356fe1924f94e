#!/bin/sh
# Start JupyterLab in the image of notebook.Dockerfile; arguments are more options of it.
set -eu
# The home directory is a volume that hides what an image has there.
test -e notebooks || cp -r /app/notebooks .
# Kubeflow sets NB_PREFIX, and its gateway says who comes in. Elsewhere Jupyter makes a token and logs it.
exec python -m jupyterlab \
    --no-browser \
    --ip=0.0.0.0 \
    --port="${NB_PORT}" \
    --ServerApp.port_retries=0 \
    --ServerApp.root_dir="${HOME}" \
    --ServerApp.base_url="${NB_PREFIX:-/}" \
    ${NB_PREFIX:+--IdentityProvider.token=} \
    --LabApp.news_url=None \
    --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
    --LabApp.extension_manager=readonly \
    "$@"
