"""What the GPU lane's tests share."""

import gc
from collections.abc import Iterator

import pytest
import torch

from meddiff.core.devices import limit_threads


@pytest.fixture(autouse=True)
def card() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    limit_threads(2)
    yield
    # Other workers test on the same card, and too little memory lets cuDNN choose other kernels.
    gc.collect()
    torch.cuda.empty_cache()
