# One image for the code server, the webserver and the daemon; the command says which it is.
FROM python:3.12-slim AS build
WORKDIR /build
COPY pyproject.toml constraints.txt README.md ./
COPY student_pipeline student_pipeline
RUN python -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.12-slim
RUN useradd --create-home --uid 10001 pipeline \
 && mkdir -p /srv/data/raw /srv/dagster_home \
 && chown -R pipeline: /srv
COPY --from=build /opt/venv /opt/venv
COPY --chown=pipeline: workspace.yaml rules.yaml /srv/
COPY --chown=pipeline: .dagster_home/dagster.yaml /srv/dagster_home/dagster.yaml
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAGSTER_HOME=/srv/dagster_home \
    STUDENT_PIPELINE_RULES=/srv/rules.yaml \
    STUDENT_PIPELINE_SOURCE=/srv/data/raw \
    STUDENT_PIPELINE_WAREHOUSE=/srv/data/warehouse.duckdb \
    STUDENT_PIPELINE_PUBLISH=/srv/data/published
USER pipeline
WORKDIR /srv
CMD ["student-pipeline", "run"]
