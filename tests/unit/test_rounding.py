"""What nets round on a GPU, and what a user reads where it lacks memory or a compiler."""

from collections.abc import Iterator

import pytest
import torch

from meddiff.core.devices import arithmetic, compile_network, limit_threads, memory_errors
from meddiff.core.errors import MeddiffError
from meddiff.extractors.supervised import predict

FULL, ROUNDED = ("highest", False), ("high", True)


def flags() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def set_flags(products: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = flags()
    yield
    set_flags(*before)


@pytest.mark.parametrize("before", [FULL, ROUNDED, ("highest", True)])
def test_a_block_rounds_as_its_precision_says_and_leaves_what_was(before: tuple) -> None:
    set_flags(*before)
    for precision, inside in (("fp32", FULL), ("tf32", ROUNDED), ("bf16", FULL)):
        with arithmetic("cpu", precision):  # type: ignore[arg-type]
            assert flags() == inside
        assert flags() == before


@pytest.mark.parametrize("before", [FULL, ROUNDED, ("highest", True)])
def test_features_are_in_float32_whatever_ran_before(before: tuple) -> None:
    set_flags(*before)
    seen = []

    def function(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(flags())
        return inputs

    predict(torch.nn.Identity(), function, torch.Tensor.float, torch.ones(3, 2))
    assert seen == [FULL] and flags() == before


def test_jobs_round_nothing_of_themselves() -> None:
    set_flags("highest", True)  # torch's own
    limit_threads(torch.get_num_threads())
    assert flags() == FULL


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"), "the GPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "this machine"),
        (MemoryError(), "this machine"),
        (RuntimeError("shapes differ"), None),
    ],
)
def test_too_little_memory_is_one_line(error: Exception, where: str | None) -> None:
    expected = (MeddiffError, f"^{where} .*: halve") if where else (RuntimeError, "shapes differ")
    with pytest.raises(expected[0], match=expected[1]), memory_errors("halve"):
        raise error


@pytest.mark.parametrize("named", [None, "no-such-compiler"])
def test_compiling_without_a_compiler_names_the_setting(
    named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("CC", "CXX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(*(("CXX", named) if named else ("PATH", "")))
    with pytest.raises(MeddiffError, match=f"^compute.compile .*{named or 'clang'}"):
        compile_network(torch.nn.Linear(1, 1), "cpu")
