#!/bin/sh
# Makes infra/requirements.lock again, after infra/constraints.txt or the dependencies in pyproject.toml have changed:
# every package of the image but PyTorch and its NVIDIA libraries (see infra/Dockerfile) by version and hash.
#   pip install uv && sh infra/lock.sh
set -eu
cd "$(dirname "$0")/.."
left_out="torch triton spinetally cuda-bindings cuda-pathfinder cuda-toolkit nvidia-cublas nvidia-cuda-cupti nvidia-cuda-nvrtc
    nvidia-cuda-runtime nvidia-cudnn-cu13 nvidia-cufft nvidia-cufile nvidia-curand nvidia-cusolver nvidia-cusparse
    nvidia-cusparselt-cu13 nvidia-nccl-cu13 nvidia-nvjitlink nvidia-nvshmem-cu13 nvidia-nvtx"
# shellcheck disable=SC2046
uv pip compile --quiet --no-header --no-annotate --generate-hashes --no-emit-index-url --no-emit-find-links \
    $(printf -- '--no-emit-package %s ' $left_out) --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
    --constraint infra/constraints.txt --extra all --output-file infra/requirements.lock pyproject.toml
