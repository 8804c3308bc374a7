# CPU:  docker build -t afa-mmseg .
# CUDA: docker build -t afa-mmseg:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#       docker run --gpus all --shm-size 8g -v "$PWD:/work" afa-mmseg:cuda train afa_mit-b1_voc
ARG PYTHON=3.11
FROM python:${PYTHON}-slim

# PyTorch's wheels bring CUDA's libraries with them; the host has the driver.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=onedl,converters,demo,onnx,tensorboard,timm

# OpenCV needs libgl1 and libglib2.0-0.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir torch torchvision --index-url ${TORCH_INDEX}
COPY . /source
RUN pip install --no-cache-dir "/source[${EXTRAS}]" && rm -rf /source && afa --help

RUN useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["afa"]
CMD ["--help"]
