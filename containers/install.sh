#!/bin/sh
# Install the lock and the package into the image's Python: install.sh cpu|cuda, in the project's root.
# The lock's PyTorch brings CUDA. For cpu PIP_EXTRA_INDEX_URL, PyTorch's index of builds for CPUs, makes the image 4 GB smaller; the
# address is left to those who build: no index is named in this project.
set -eu
case "$1" in
cpu)
    if [ -n "${PIP_EXTRA_INDEX_URL:-}" ]; then
        grep -v -E '^(nvidia-|cuda-|triton==)' requirements.txt >/tmp/lock.txt
    else
        echo "install.sh: without PIP_EXTRA_INDEX_URL this image for CPUs has 4 GB of CUDA too" >&2
        cp requirements.txt /tmp/lock.txt
    fi
    python -m pip install -r /tmp/lock.txt
    rm /tmp/lock.txt
    ;;
cuda) python -m pip install -r requirements.txt ;; # brings CUDA; the machine has the driver alone
*)
    echo "install.sh: $1 is neither cpu nor cuda" >&2
    exit 2
    ;;
esac
python -m pip install --no-deps --no-build-isolation --editable .
