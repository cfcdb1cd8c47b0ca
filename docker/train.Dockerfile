# Training, tuning and evaluation on NVIDIA GPUs; torch's own wheels bring the CUDA libraries.
#     docker build -f docker/train.Dockerfile -t bloomery-train .
#     docker run --gpus all --ipc=host -v $PWD/runs:/workspace/runs bloomery-train train RECIPE
FROM python:3.12-slim-bookworm
# DeepSpeed's launcher reaches other hosts with ssh and pdsh, and compiles its optional kernels with g++.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ openssh-client openssh-server pdsh \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/bloomery
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY data_prep data_prep
COPY pipeline pipeline
COPY launch launch
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[train]'
RUN useradd --create-home bloomery
USER bloomery
WORKDIR /workspace
ENTRYPOINT ["bloomery"]
CMD ["--help"]
