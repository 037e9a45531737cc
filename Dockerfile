# Two stages: everything is installed by its hash in the first, and the second has neither compiler nor
# package manager's cache. The base image may be pinned by digest:
#   docker build --build-arg PYTHON=python@sha256:… .
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
RUN python -m venv /opt/keeper && python -m venv /opt/build
COPY requirements.lock requirements-build.lock ./
RUN /opt/keeper/bin/python -m pip install --require-hashes --no-deps -r requirements.lock \
 && /opt/build/bin/python -m pip install --require-hashes --no-deps -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY contracts_abi contracts_abi
COPY systemd systemd
COPY keeper keeper
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/keeper/bin/python -m pip install --no-deps --no-index --find-links /wheels keeper \
 && /opt/keeper/bin/python -m pip uninstall --yes pip

FROM ${PYTHON}
RUN groupadd --system --gid 10001 keeper \
 && useradd --system --uid 10001 --gid keeper --home-dir /var/lib/keeper --create-home keeper
COPY --from=build /opt/keeper /opt/keeper
ENV PATH=/opt/keeper/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    CREDENTIALS_DIRECTORY=/run/secrets XDG_RUNTIME_DIR=/tmp
USER 10001:10001
WORKDIR /var/lib/keeper
VOLUME /var/lib/keeper
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["keeper"]
CMD ["run", "--config", "/etc/keeper/keeper.toml"]
