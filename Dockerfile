# The image in which rollouts run: as a worker of a `process` work pool, or one container per run (docs/work-pools/).
#
#   docker build --tag rollway:1 .
#   docker run --init --env PREFECT_API_URL=… --env ROLLWAY_WORKSPACE_BLOCK=production rollway:1
#
# For a build that can be repeated give the base image by its digest: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /build
COPY requirements.lock pyproject.toml ./
# uv as the Makefile gets it. Then what pyproject.toml asks for at run time, in the lock's versions and with its hashes;
# the lock's other packages, of the tests and of the emulator, stay out. Compiled, because everything starts twice as fast.
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
# A number, so that Kubernetes can tell that it is not root.
USER 10001
CMD ["prefect", "worker", "start", "--pool", "rollway"]
