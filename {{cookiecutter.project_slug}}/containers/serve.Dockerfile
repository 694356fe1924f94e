# The model server with one model inside. `receive` instead of `serve` is the retraining receiver.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /app
ENV PIP_CONFIG_FILE=/run/secrets/pip_conf PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1
COPY vendor vendor
COPY requirements/serve.txt requirements/
# Bytecode by hash, not by time: registries and builders may change the times of files.
RUN --mount=type=secret,id=pip_conf --mount=type=secret,id=ca_bundle \
    --mount=type=cache,target=/var/cache/pip \
    if [ -s /run/secrets/ca_bundle ]; then export PIP_CERT=/run/secrets/ca_bundle; fi \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --quiet --require-hashes --no-deps --no-compile -r requirements/serve.txt \
    && /opt/venv/bin/pip uninstall --quiet --yes setuptools pip \
    && find /opt/venv/lib -type d -name tests -prune -exec rm -r {} + \
    && /opt/venv/bin/python -m compileall -q -f -j 0 --invalidation-mode unchecked-hash /opt/venv/lib
COPY monitoring/retraining.toml monitoring/
COPY pyproject.toml ./
COPY src src
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash src
# Only a model that is the one asked for, and that answers its golden rows here, is packaged.
ARG CONTRACT_SHA256=""
COPY build/model model
RUN /opt/venv/bin/modelloop prove model "${CONTRACT_SHA256}" \
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
    MODEL_DIR=/app/model \
    SERVE_HOST=0.0.0.0 \
    SERVE_PORT=9000 \
    METRICS_PORT=6000 \
    RETRAIN_HOST=0.0.0.0
EXPOSE 9000 6000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ['SERVE_PORT']), timeout=4); \
server.request('GET', '/health/status'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["modelloop"]
CMD ["serve"]
ARG GIT_COMMIT=""
ARG MODEL_NAME=""
ARG MODEL_VERSION=""
ARG CONTRACT_SHA256=""
LABEL org.opencontainers.image.title="{{ cookiecutter.project_slug }}-serve" \
      org.opencontainers.image.source="{{ cookiecutter.repository_url }}" \
      org.opencontainers.image.revision="${GIT_COMMIT}" \
      model.name="${MODEL_NAME}" \
      model.version="${MODEL_VERSION}" \
      model.contract.sha256="${CONTRACT_SHA256}"
