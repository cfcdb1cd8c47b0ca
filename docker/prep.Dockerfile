# Data preparation on a Ray cluster, CPU only: no torch inside.
#     docker build -f docker/prep.Dockerfile -t bloomery-prep:0.1.0 .
FROM python:3.12-slim-bookworm
# KubeRay asks Ray for its health with wget.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends wget \
    && rm -rf /var/lib/apt/lists/*
ENV PYTHONUNBUFFERED=1
WORKDIR /opt/bloomery
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY data_prep data_prep
COPY pipeline pipeline
COPY launch launch
RUN pip install --no-cache-dir --constraint constraints.txt '.[prep]' 'ray[default]' mlflow-skinny
RUN useradd --create-home --uid 10001 bloomery
USER bloomery
WORKDIR /workspace
ENTRYPOINT ["bloomery"]
CMD ["--help"]
