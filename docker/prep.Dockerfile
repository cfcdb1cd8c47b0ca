# Data preparation on a Ray cluster, CPU only: no torch inside.
#     docker build -f docker/prep.Dockerfile -t bloomery-prep .
FROM python:3.12-slim-bookworm
WORKDIR /opt/bloomery
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY data_prep data_prep
COPY pipeline pipeline
COPY launch launch
RUN pip install --no-cache-dir --constraint constraints.txt '.[prep]' 'ray[default]' mlflow-skinny
RUN useradd --create-home bloomery
USER bloomery
WORKDIR /workspace
ENTRYPOINT ["bloomery"]
CMD ["--help"]
