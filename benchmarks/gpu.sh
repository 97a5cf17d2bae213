#!/usr/bin/env bash
# Measures the GPU path in at most ten minutes: bash benchmarks/gpu.sh FOLDER [--rehearse]
#
# Needs torch 2.11 or later with torchvision, and these packages, as wheels in the folder WHEELS if there is no network:
#   captum grad-cam matplotlib numpy opencv-python-headless pillow polars pydantic pydantic-settings pydicom safetensors
#   scikit-image scikit-learn scipy torchmetrics universal-pathlib
# and beside them lightning for the comparison, pytest with pytest-xdist and hypothesis for the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${WHEELS:-}" ]; then
    python -m pip install --quiet --no-index --no-deps "$WHEELS"/*.whl
fi
export PYTHONPATH="$PWD/src:$PWD" CUBLAS_WORKSPACE_CONFIG=:4096:8
exec timeout 590 python -m benchmarks.gpu "$@"
