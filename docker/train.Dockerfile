# Training, tuning and evaluation on NVIDIA GPUs.
#     docker build -f docker/train.Dockerfile -t bloomery-train:0.1.0 .
#     docker run --gpus all --ipc=host -v $PWD/runs:/workspace/runs bloomery-train:0.1.0 train RECIPE
# The base lets NVIDIA's runtime check the driver and show the GPUs; torch's own wheels bring the CUDA libraries.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04
# torch.compile builds kernels with gcc and Python's headers; DeepSpeed's launcher reaches hosts with ssh and pdsh.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        g++ gcc libpython3-dev openssh-client openssh-server pdsh python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python3 -m venv /opt/venv
WORKDIR /opt/bloomery
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY data_prep data_prep
COPY pipeline pipeline
COPY launch launch
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[train,finetune,export]'
# The same number in both images, so that one may write where the other has written.
RUN useradd --create-home --uid 10001 bloomery
USER bloomery
WORKDIR /workspace
ENTRYPOINT ["bloomery"]
CMD ["--help"]
