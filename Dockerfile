# Image for rollouts: as a worker of a `process` work pool, or one container per run (docs/work-pools/).
#
#   docker build --tag rollway:1 .
#   docker run --init --env PREFECT_API_URL=… --env ROLLWAY_WORKSPACE_BLOCK=production rollway:1
#
# For a reproducible build pass the base image by digest: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
COPY requirements.lock pyproject.toml ./
# Install uv as the Makefile does, then the run-time dependencies of pyproject.toml in the versions and with the hashes of
# the lock, without packages for tests and the emulator. Compiled bytecode halves the start-up time.
RUN sed -n '/^uv==/,/[^\\]$/p' requirements.lock > uv.lock \
    && python -m venv tools \
    && tools/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps -r uv.lock \
    && tools/bin/uv pip compile --no-cache --quiet --no-deps --no-header --no-annotate \
        --constraint requirements.lock pyproject.toml --output-file direct.txt \
    && python -m venv --without-pip /opt/venv \
    && tools/bin/uv pip install --no-cache --compile-bytecode --require-hashes --python /opt/venv/bin/python \
        --constraint requirements.lock -r direct.txt

FROM ${PYTHON_IMAGE}
RUN useradd --create-home --uid 10001 rollway
WORKDIR /opt/rollway
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/rollway PYTHONUNBUFFERED=1
COPY --from=build /opt/venv /opt/venv
COPY prefect.yaml ./
COPY rollway rollway
COPY tasks tasks
COPY flows flows
COPY scoring scoring
COPY deployments deployments
RUN python -m compileall -q rollway tasks flows
# A number, so that Kubernetes can verify that it is not root.
USER 10001
CMD ["prefect", "worker", "start", "--pool", "rollway"]
