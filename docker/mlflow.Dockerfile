# The MLflow server of docker/compose.yaml, with the driver of its PostgreSQL store.
FROM python:3.12-slim-bookworm
COPY constraints.txt /opt/constraints.txt
RUN pip install --no-cache-dir --constraint /opt/constraints.txt mlflow 'psycopg2-binary>=2.9,<3'
RUN useradd --create-home mlflow && install -d -o mlflow /artifacts
USER mlflow
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server", "--help"]
