#!/bin/sh
# Install the lock and the package into the image's Python: install.sh cpu|cuda, in the project's root.
set -eu
case "$1" in
cpu)
    # PyTorch's own index has the same versions without 4 GB of CUDA.
    grep -v -E '^(nvidia-|cuda-|triton==)' requirements.txt >/tmp/lock.txt
    python -m pip install --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" -r /tmp/lock.txt
    rm /tmp/lock.txt
    ;;
cuda) python -m pip install -r requirements.txt ;; # brings CUDA; the machine has the driver alone
*)
    echo "install.sh: $1 is neither cpu nor cuda" >&2
    exit 2
    ;;
esac
python -m pip install --no-deps --no-build-isolation --editable .
