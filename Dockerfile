# One image, three roles: code server, webserver, daemon (deploy/entrypoint.sh).
#
# Where wheelhouse/ holds wheels (`make wheelhouse`), no index is asked, so that
# `docker build --network none` works; else they are fetched from the index. The versions are those
# of constraints.txt either way. docs/deployment.md says how to pin the base image to the byte.
ARG PYTHON_IMAGE=python:3.12-slim-bookworm

FROM ${PYTHON_IMAGE} AS wheels
WORKDIR /build
COPY wheelhouse wheelhouse
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['service'], sep='\n')" > requirements.txt \
 && if ls wheelhouse/*.whl >/dev/null 2>&1; then export PIP_NO_INDEX=1; fi \
 && pip download --no-cache-dir --only-binary :all: --find-links wheelhouse --dest /wheels \
    --constraint constraints.txt --requirement requirements.txt 'setuptools>=77'

# `docker build --target wheelhouse --output wheelhouse .` fills the folder.
FROM scratch AS wheelhouse
COPY --from=wheels /wheels /

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_FIND_LINKS=/wheels PIP_NO_CACHE_DIR=1 PIP_NO_INDEX=1 PIP_ROOT_USER_ACTION=ignore
COPY --from=wheels /wheels /wheels
COPY --from=wheels /build/requirements.txt ./
# The dependencies by themselves: a change of the code does not install them anew.
RUN python -m venv --without-pip /opt/venv \
 && pip --python /opt/venv/bin/python install --requirement requirements.txt \
 && pip install 'setuptools>=77' \
 && find /opt/venv -type d -path '*/site-packages/*/tests' -prune -exec rm -rf {} +
COPY pyproject.toml README.md ./
COPY student_pipeline student_pipeline
RUN pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && pip --python /opt/venv/bin/python install --no-deps dist/*.whl

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 pipeline \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /srv --shell /usr/sbin/nologin pipeline \
 && install -d -o pipeline -g pipeline -m 0700 /srv/data /srv/scratch /srv/dagster_home/storage \
 && install -d -o pipeline -g pipeline -m 0755 /srv/published \
 && install -d -m 0755 /srv/landing
COPY --from=build /opt/venv /opt/venv
COPY --chmod=0755 deploy/entrypoint.sh /usr/local/bin/entrypoint
COPY --chmod=0644 deploy/workspace.yaml rules.yaml /srv/
COPY --chmod=0644 deploy/dagster.yaml /srv/dagster_home/dagster.yaml
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DAGSTER_HOME=/srv/dagster_home \
    STUDENT_PIPELINE_RULES=/srv/rules.yaml \
    STUDENT_PIPELINE_SOURCE=/srv/landing \
    STUDENT_PIPELINE_WAREHOUSE=/srv/data/warehouse.duckdb \
    STUDENT_PIPELINE_PUBLISH=/srv/published
USER 10001:10001
WORKDIR /srv
# All that is ever written lies below /srv/data, /srv/published, /srv/scratch and
# /srv/dagster_home/storage; the rest may be read-only. They are not declared as volumes: each role
# would get all of them, to write, wherever it does not mount them.
ENTRYPOINT ["entrypoint"]
CMD ["code"]
# Of the code server; docker-compose.yml has those of the other roles.
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 \
    CMD ["dagster", "api", "grpc-health-check", "--port", "4000"]
