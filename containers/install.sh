#!/bin/sh
# Install the lock and the package into the image's Python: install.sh cpu|cuda, in the project's root.
set -eu
case "$1" in
cpu)
    # An index of PyTorch's builds for CPUs alone has the same versions without 4 GB of CUDA.
    if [ -n "${PIP_EXTRA_INDEX_URL:-}" ]; then
        grep -v -E '^(nvidia-|cuda-|triton==)' requirements.txt >/tmp/lock.txt
    else
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
