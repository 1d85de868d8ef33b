"""Tampered files are read or refused in one line: never another error, never code that runs.

What a collaborator, a remote or a broken disk hands in is mutated in two ways: at random, and by a
list of planted faults that random bytes seldom find.
"""

import contextlib
import io
import json
import os
import pickle
import random
import re
import shutil
import struct
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.persistence import MetadataRecord

from meddiff.core.arrays import load_array, load_images, save_array
from meddiff.core.checkpoints import load_checkpoint, save_checkpoint
from meddiff.core.errors import MeddiffError
from meddiff.core.files import sha256_file
from meddiff.workflow.provenance.digests import CACHE
from meddiff.workflow.provenance.lineage import changed_inputs, lineage
from meddiff.workflow.provenance.record import Record
from meddiff.workflow.provenance.recording import describe_file
from meddiff.workflow.provenance.store import (
    LOCAL,
    SHARED,
    _seal,
    read_effective,
    read_record,
    write_record,
)
from meddiff.workflow.sharing.metadata import MetadataStore
from meddiff.workflow.sharing.plan import Plan
from meddiff.workflow.sharing.sync import sync_metadata
from meddiff.workflow.sharing.verify import verify

FEW_BYTES = 16 * 2**20
"""More than any reader here needs, and less than what a lying header asks for."""
fuzz = settings(max_examples=200, deadline=None)
fewer = settings(max_examples=60, deadline=None)


EDITED = re.compile(
    r"([^\n]+ bytes [^\n]+\n)+(`meddiff restore --replace [^\n]+`[^\n]*(\n|$))?(move [^\n]+)?"
)
"""The one refusal of more than one line: a line a file, and the remedies."""


def check_refusal(error: MeddiffError) -> None:
    message = str(error)
    assert len(message.splitlines()) == 1 or EDITED.fullmatch(message), f"not one line: {message!r}"


def attempt(read: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a reader returns, or None where it refuses as a user should see it."""
    tracemalloc.start()
    try:
        return read(*arguments)
    except MeddiffError as error:
        check_refusal(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < FEW_BYTES, f"{peak / 1e6:.0f} MB were allocated for a small file"


@st.composite
def mutants(draw: st.DrawFn, original: bytes, words: Sequence[bytes], header: int) -> bytes:
    """Return the original with bytes flipped, cut, inserted, and words put over others."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, min(header, len(data))) | st.integers(0, len(data)))
        length = draw(st.integers(0, 12))
        match draw(st.sampled_from(["flip", "cut", "insert", "delete", "repeat", "word", "swap"])):
            case "flip" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at:]
            case "insert":
                data[at:at] = draw(st.binary(max_size=12) | st.sampled_from(words))
            case "delete":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length] * draw(st.integers(1, 50))
            case "word":
                old, new = draw(st.sampled_from(words)), draw(st.sampled_from(words))
                data = data.replace(old, new, 1)
            case "swap":
                other = draw(st.integers(0, len(data)))
                data[at : at + length], data[other : other + length] = (
                    data[other : other + length],
                    data[at : at + length],
                )
    return bytes(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tampered")


class Bomb:
    """An object whose unpickling creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return Path.touch, (self.marker,)


# Image sets and other arrays.

IMAGES = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
NPY_WORDS = [
    *b"'descr' 'fortran_order' 'shape' '|u1' '|O' '<f8' '|V0' 'O,u1' False True None".split(),
    *b"[] () { } ( ) ' , : 3 4 - (1e3,) PK\x03\x04 \x93NUMPY \x80\x04".split(),
    *(b"(3, 4, 4, 3)", b"(-1, 4, 4, 3)", b"(9999999999999999999999, 4, 4, 3)"),
    *(b"\n", b" ", b"\x01\x00", b"\x02\x00", b"\x03\x00"),
]


def npy(header: str, data: bytes = bytes(144), release: int = 1) -> bytes:
    """An .npy file with a header of one's own."""
    text = header.encode()
    length = struct.pack("<H" if release == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([release, 0]) + length + text + data


def described(descr: str = "'|u1'", shape: str = "(3, 4, 4, 3)", order: str = "False") -> bytes:
    return npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n")


BAD_ARRAYS = {
    "2 GB claimed": described(shape="(2147483648, 1, 1, 1)"),
    "93 GB claimed": described(shape="(100000000000, 1, 1, 1)"),
    "1 TB claimed": described(shape="(1099511627776, 1, 1, 1)"),
    "more than 64 bits": described(shape="(99999999999999999999999, 4, 4, 3)"),
    "a product of more than 64 bits": described(shape=f"({2**63 - 1}, {2**63 - 1}, 4, 3)"),
    "a product that is 0 in 64 bits": described(shape=f"({2**32}, {2**32}, 4, 3)"),
    "negative": described(shape="(-3, 4, 4, 3)"),
    "a minus too many": described(shape="(-3, -4, 4, 3)"),
    "a truth for a number": described(shape="(True, 4, 4, 3)"),
    "a number for a shape": described(shape="144"),
    "many dimensions": described(shape=str((1,) * 70)),
    "objects": described("'|O'"),
    "hidden objects": described("[('a', '|O')]"),
    "objects in a list of types": described("'O,u1'"),
    "an empty type": described("()"),
    "half a type": described("('a',)"),
    "no type": described("None"),
    "a type that is no type": described("','"),
    "a type of no bytes": described("'|V0'"),
    "a type of many bytes": described("'|V2147483647'"),
    "a type of too many bytes": described("'|V99999999999999'"),
    "a type of many of one": described("('|u1', (100000000,))", "(1,)"),
    "a time of no unit": described("'<m8[foo]'"),
    "a header that breaks off": npy("{'descr'\n"),
    "a header of open brackets": npy("(" * 5000 + "\n"),
    "a header of signs": npy("-" * 8000 + "1\n"),
    "a header of an open text": npy("'''\n"),
    "a header of odd indents": npy("  a\n b\n"),
    "a header of no names": npy("{1: 1, 'a': 2}\n"),
    "a header of a list as name": npy("{[]: 1}\n"),
    "a header of zeros": npy("\0\0\0\n"),
    "a header that is code": npy("__import__('os').system('false')\n"),
    "a long header": npy("{'descr': '|u1'}" + " " * 20000 + "\n"),
    "a header of 4 GB": npy("{}\n", release=3)[:8] + b"\xff" * 4 + b"{}\n",
    "an unknown release": npy("{}\n", release=9),
    "a name of half a letter": npy("{}\n", release=3).replace(b"{}", b"\xff}"),
    "empty": b"",
    "a beginning": b"\x93NUMPY",
    "half a release": b"\x93NUMPY\x01",
    "a zip file's beginning": b"PK\x03\x04",
    "a zip file's beginning and more": b"PK\x03\x04" + bytes(200),
    "an empty zip file": b"PK\x05\x06" + bytes(18),
    "no array": b"<html>404</html>",
}  # fmt: skip


def check_array(path: Path) -> None:
    result = attempt(load_array, path)
    if result is not None:
        assert type(result) is np.ndarray and not result.dtype.hasobject
        assert result.nbytes <= path.stat().st_size


def check_images(path: Path) -> None:
    result = attempt(load_images, path)
    if result is not None:
        assert result.dtype == np.uint8 and result.ndim == 4 and result.shape[-1] in (1, 3)
        assert result.nbytes <= path.stat().st_size and not result.flags.writeable
        np.array(result)


@pytest.mark.parametrize("check", [check_array, check_images])
@pytest.mark.parametrize("data", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_array_that_lies_is_refused(tmp_path, data, check):
    (tmp_path / "x.npy").write_bytes(data)
    check(tmp_path / "x.npy")


def original_array() -> bytes:
    file = io.BytesIO()
    np.save(file, IMAGES)
    return file.getvalue()


def test_the_original_is_what_the_workflow_writes(tmp_path):
    save_array(IMAGES, tmp_path / "x.npy")
    assert (tmp_path / "x.npy").read_bytes() == original_array()
    assert np.array_equal(attempt(load_images, tmp_path / "x.npy"), IMAGES)


@pytest.mark.parametrize("check", [check_array, check_images])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@fuzz
@given(data=mutants(original_array(), NPY_WORDS, header=130))
def test_mutated_arrays_are_read_or_refused(folder, check, data):
    (folder / "x.npy").write_bytes(data)
    check(folder / "x.npy")


def pickled_array(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([bomb, bomb], dtype=object), allow_pickle=True)
    return file.getvalue()


def pickled_archive(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    np.savez(file, np.array([bomb], dtype=object))
    return file.getvalue()


def torch_pickle(bomb: Bomb) -> bytes:
    file = io.BytesIO()
    torch.save({"weights": bomb}, file)
    return file.getvalue()


def safetensors_pickle(bomb: Bomb) -> bytes:
    text = pickle.dumps(bomb)
    return struct.pack("<Q", len(text)) + text


PICKLES = [pickle.dumps, pickled_array, pickled_archive, torch_pickle, safetensors_pickle]


def test_the_bomb_goes_off_where_it_is_unpickled(tmp_path):
    np.load(io.BytesIO(pickled_array(Bomb(tmp_path / "went off"))), allow_pickle=True)
    assert (tmp_path / "went off").exists()


@pytest.mark.parametrize("make", PICKLES)
@pytest.mark.parametrize("read", [load_array, load_images, load_checkpoint, read_record])
def test_no_pickle_runs(tmp_path, make, read):
    path = tmp_path / "x.npy"
    path.write_bytes(make(Bomb(tmp_path / "went off")))
    assert attempt(read, path) is None
    assert not (tmp_path / "went off").exists()


# Checkpoints.

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.float16)}
ABOUT = {"settings": {"epochs": 3}, "size": 64}
TENSOR_WORDS = [
    *b'"__metadata__" "meddiff" "dtype" "shape" "data_offsets" "a.weight" "b" "F32"'.split(),
    *b'"F16" "F4" "F6_E2M3" "I64" [2,3] [4] [0,8] [8,32] [0,0] [-1,4] null {} \\"'.split(),
    *rb"{ } [ ] , : 0 9 \n \u0000 [0,9223372036854775808] [8,18446744073709551615]".split(),
    b"\xff",
]


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Path:
    save_checkpoint(folder / "w.safetensors", WEIGHTS, ABOUT)
    return folder / "w.safetensors"


def tensors(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file with a header of one's own."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str = "F32", shape: Any = (6,), ends: Any = (0, 24), name: str = "a") -> dict:
    header = {"dtype": dtype, "shape": shape, "data_offsets": ends}
    return {"__metadata__": {"meddiff": "{}"}, name: header}


def noted(note: str) -> bytes:
    return tensors({"__metadata__": {"meddiff": note}})


DATA = bytes(24)
BAD_CHECKPOINTS = {
    "a note that is a list": noted("[1]"),
    "a note that is a number": noted("1"),
    "a note that is nothing": noted("null"),
    "a deep note": noted("[" * 100000),
    "a deep note that ends": noted('{"a":' * 100000 + "1" + "}" * 100000),
    "a note of many digits": noted("1" * 5000),
    "a note that is no JSON": noted("{"),
    "no note": tensors({"__metadata__": {"other": "{}"}}),
    "no notes": tensors({}),
    "notes that are a list": tensors({"__metadata__": []}),
    "an end beyond the file": tensors(tensor(ends=[0, 2**60], shape=[2**58]), DATA),
    "a negative end": tensors(tensor(ends=[-24, 0]), DATA),
    "an end before the start": tensors(tensor(ends=[24, 0]), DATA),
    "a hole": tensors(tensor(ends=[12, 24], shape=[3]), DATA),
    "a huge shape": tensors(tensor(shape=[2**62]), DATA),
    "a shape of more than 64 bits": tensors(tensor(shape=[2**70]), DATA),
    "a product of more than 64 bits": tensors(tensor(shape=[2**40, 2**40]), DATA),
    "nothing of 2^62": tensors(tensor(shape=[0, 2**62], ends=[0, 0])),
    "nothing of 2^63": tensors(tensor(shape=[0, 2**63], ends=[0, 0])),
    "nothing of 2^64": tensors(tensor(shape=[0, 2**64 - 1], ends=[0, 0])),
    "nothing of 2^32 x 2^31": tensors(tensor(shape=[0, 2**32, 2**31], ends=[0, 0])),
    "many dimensions": tensors(tensor(shape=[1] * 10000 + [6]), DATA),
    "a type that torch lacks": tensors(tensor("F6_E2M3", [32]), DATA),
    "half a byte": tensors(tensor("F4", [1], [0, 1]), b"\0"),
    "an unknown type": tensors(tensor("X9"), DATA),
    "an unknown type of two lines": tensors(tensor("X\nerror: 9"), DATA),
    "a name of two lines": tensors(tensor(ends=[0, 25], name="a\nb"), DATA),
    "a tensor that is a number": tensors({"__metadata__": {"meddiff": "{}"}, "a": 1}),
    "too few bytes": tensors(tensor(), DATA[1:]),
    "too many bytes": tensors(tensor(), DATA + b"\0"),
    "a header beyond the file": struct.pack("<Q", 10**7) + b"{}",
    "a header of 2^63": struct.pack("<Q", 2**63) + b"{}",
    "a header of 2^64": struct.pack("<Q", 2**64 - 1) + b"{}",
    "a deep header": struct.pack("<Q", 80000) + b"[" * 80000,
    "a header that is no text": struct.pack("<Q", 2) + b"\xff\xff",
    "empty": b"",
    "half a length": b"\x08\x00",
    "zeros": bytes(64),
    "a zip file": b"PK\x03\x04" + bytes(64),
}  # fmt: skip


def check_checkpoint(path: Path) -> None:
    result = attempt(load_checkpoint, path)
    if result is not None:
        weights, about = result
        assert isinstance(about, dict), f"the note is {about!r}"
        assert all(isinstance(value, torch.Tensor) for value in weights.values())
        assert sum(value.nbytes for value in weights.values()) <= path.stat().st_size


@pytest.mark.parametrize("data", BAD_CHECKPOINTS.values(), ids=BAD_CHECKPOINTS)
def test_a_checkpoint_that_lies_is_refused(tmp_path, data):
    (tmp_path / "x.safetensors").write_bytes(data)
    check_checkpoint(tmp_path / "x.safetensors")


@fuzz
@given(data=st.data())
def test_mutated_checkpoints_are_read_or_refused(folder, checkpoint, data):
    original = checkpoint.read_bytes()
    mutant = folder / "x.safetensors"
    mutant.write_bytes(data.draw(mutants(original, TENSOR_WORDS, header=len(original) - 32)))
    check_checkpoint(mutant)


def test_the_whole_checkpoint_comes_back(checkpoint):
    weights, about = attempt(load_checkpoint, checkpoint)
    assert about == ABOUT and all(torch.equal(weights[k], WEIGHTS[k]) for k in WEIGHTS)


# Records, and the folder that holds them.

FILES = {
    "data/raw/x.zip": [],
    "models/a.bin": ["data/raw/x.zip"],
    "features/a.npy": ["models/a.bin"],
    "results/t.csv": ["features/a.npy", "models/a.bin"],
}
TARGET = "results/t.csv"
RECORD_WORDS = [
    *b'"path" "sha256" "size" "inputs" "params" "machine" "snakemake" "endtime" "rule"'.split(),
    *b'null true -1 1e999 NaN {} [] { } " , : 0 9 "models/a.bin" "../x" "/etc/passwd"'.split(),
    *rb'"\ud800" "\n" "\u001b[2J"'.split(),
    *(b"<<<<<<< HEAD\n", b"=======\n", b"1" * 400, b"[" * 300, b'{"a":' * 300),
    *(b"\xff", b"\xef\xbb\xbf", b"\0"),
]


@pytest.fixture(scope="module")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose files are all here and shared."""
    root = tmp_path_factory.mktemp("shared") / "run"
    root.mkdir()
    with contextlib.chdir(root):
        for number, (path, inputs) in enumerate(FILES.items()):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(f"{path} {number}\n")
            made = MetadataRecord(
                rule="make", input=inputs, params=["1"], starttime=number, endtime=number + 1
            )
            record = describe_file(
                path,
                rule="make" if inputs else None,
                inputs={file: sha256_file(file) for file in inputs},
                params={"seed": 0, "settings": {"rate": 0.5, "names": ["a", "b"]}},
                snakemake=dict(made.items()) if inputs else None,
            )
            write_record(record, SHARED)
        shutil.rmtree(CACHE.parts[0])
    return root


@contextlib.contextmanager
def copy_of(root: Path) -> Iterator[None]:
    """Enter a fresh copy of a run."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        place = shutil.copytree(root, Path(folder, "copy"), symlinks=True)
        with contextlib.chdir(place):
            yield


def contents() -> dict[Path, bytes]:
    """Bytes of what lies in the working directory, except what Snakemake keeps for itself."""
    return {
        path: path.read_bytes()
        for path in Path().rglob("*")
        if path.is_file() and path.parts[0] != ".snakemake"
    }


def read_folder() -> None:
    """Do with the records what every run does, and what a proof does."""
    sync_metadata()
    records = read_effective()
    for record in records.values():
        changed_inputs(record, records)
    lineage(TARGET, records)


def prove() -> list[str]:
    messages: list[str] = []
    plan = Plan(Path.cwd(), Path.cwd(), (), (TARGET,), {}, overlays=False)
    for as_json in (False, True):
        verify(plan, cell=None, as_json=as_json, origin="absent", say=messages.append)
    return messages


def check_folder() -> None:
    """Check that a tampered folder is believed or refused, and changes no file of the user."""
    before = contents()
    attempt(read_folder)
    attempt(prove)
    assert contents() == before


def test_the_untouched_folder_is_believed(shared_run):
    with copy_of(shared_run):
        check_folder()
        read_folder()
        assert prove()[0] == f"{TARGET}: proven"


def test_a_proof_sees_bytes_that_were_changed_behind_the_caches_back(shared_run):
    with copy_of(shared_run):
        read_folder()
        path = Path("features/a.npy")
        status = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        first, second = prove()[:2]
        assert first == f"{TARGET}: NOT PROVEN"
        assert second.startswith("  features/a.npy ") and "bytes" in second


def reseal(text: bytes) -> bytes:
    """Seal what can be sealed: whoever changes a record on purpose can do that too."""
    try:
        fields = json.loads(text)
        fields.pop("seal", None)
        return json.dumps({**fields, "seal": _seal(fields)}).encode()
    except (ValueError, TypeError, AttributeError, RecursionError):
        return text


def tampered(data: st.DataObject, original: bytes) -> bytes:
    """A mutant of a record, as it is or validly sealed again."""
    mutant = data.draw(mutants(original, RECORD_WORDS, header=len(original)))
    return reseal(mutant) if data.draw(st.booleans()) else mutant


def check_record(file: Path) -> None:
    result = attempt(read_record, file)
    if result is not None:
        assert isinstance(result, Record)
        assert len(result.sha256) == 64 and len(result.md5) == 32 and result.size >= 0


@fuzz
@given(data=st.data())
def test_mutated_records_are_read_or_refused(folder, shared_run, data):
    original = (shared_run / SHARED / f"{TARGET}.json").read_bytes()
    file = folder / "x.json"
    mutant = data.draw(mutants(original, RECORD_WORDS, header=len(original)))
    for text in (mutant, reseal(mutant)):
        file.write_bytes(text)
        check_record(file)


@fewer
@given(data=st.data(), path=st.sampled_from(list(FILES)))
def test_a_folder_with_a_mutated_record_is_read_or_refused(shared_run, data, path):
    with copy_of(shared_run):
        file = SHARED / f"{path}.json"
        original = file.read_bytes()
        file.write_bytes(tampered(data, original))
        check_folder()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def edit_record(path: str, /, **changes: Any) -> None:
    """Change a shared record and seal it again."""
    file = SHARED / f"{path}.json"
    file.write_bytes(reseal(json.dumps({**json.loads(file.read_text()), **changes}).encode()))


sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
VALID = {
    "sha256": sha256s,
    "rule": st.none() | st.sampled_from(["make", "train", ""]),
    "inputs": st.dictionaries(st.sampled_from([*FILES, "data/raw", "absent", "x/y"]), sha256s),
    "params": st.dictionaries(st.text(max_size=3), json_values, max_size=3),
    "snakemake": st.none() | st.just({}) | st.fixed_dictionaries({"endtime": st.floats(0, 2**32)}),
    "size": st.integers(0, 2**70),
}


@fewer
@given(
    path=st.sampled_from(list(FILES)),
    key=st.sampled_from([*Record.model_fields, "extra"]),
    value=json_values,
)
def test_a_folder_with_any_json_in_a_record_is_read_or_refused(shared_run, path, key, value):
    with copy_of(shared_run):
        edit_record(path, **{key: value})
        check_folder()


@pytest.mark.slow
@fewer
@given(path=st.sampled_from(list(FILES)), key=st.sampled_from(list(VALID)), data=st.data())
def test_a_folder_with_other_valid_values_in_a_record_is_read_or_refused(
    shared_run, path, key, data
):
    """What no field's own check can refuse: another digest, input, rule, or none."""
    with copy_of(shared_run):
        edit_record(path, **{key: data.draw(VALID[key])})
        check_folder()


def test_a_record_whose_seal_is_not_its_own_is_refused(shared_run):
    with copy_of(shared_run):
        file = SHARED / "models/a.bin.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "author": "B <b@b.c>"}))
        for read in (sync_metadata, prove):
            with pytest.raises(MeddiffError, match=r"a\.bin\.json"):
                read()


TIMES = ["x", "1", [1], {}, 1e300, -1e300, 10**18, -(10**18), 10**30, True, float("nan")]


@pytest.mark.parametrize("ended", TIMES, ids=str)
def test_a_record_that_ended_at_no_time_is_refused(shared_run, ended):
    with copy_of(shared_run):
        fields = json.loads((SHARED / "models/a.bin.json").read_text())["snakemake"]
        edit_record("models/a.bin", snakemake={**fields, "endtime": ended})
        check_folder()


@pytest.mark.parametrize(
    "metadata",
    [{"starttime": "x"}, {"input": "x"}, {"params": 1}, {"record_format_version": "x"}],
    ids=str,
)
def test_what_snakemake_is_told_it_can_read(shared_run, metadata):
    """Else it ends with a traceback that names neither the record nor a remedy."""
    with copy_of(shared_run):
        edit_record("models/a.bin", snakemake=metadata)
        attempt(sync_metadata)
        if (result := MetadataStore().read("models/a.bin")) is not None:
            MetadataRecord.model_validate(result)


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def add_record(path: str, **changes: Any) -> None:
    """Put a sealed record of another path beside the others."""
    fields = json.loads((SHARED / "models/a.bin.json").read_text())
    file = SHARED / f"{path}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(reseal(json.dumps({**fields, "path": path, **changes}).encode()))


def edit_inputs(name: str) -> None:
    edit_record("models/a.bin", inputs={name: "0" * 64})


def add_loop() -> None:
    Path("loop").symlink_to("loop")
    edit_inputs("loop")


def add_record_of_two_lines() -> None:
    name = "models/a\nerror: b"
    Path(name).write_text("x")
    add_record(name)


def add_record_of_no_text() -> None:
    name = os.fsdecode(b"models/\xe4.bin")
    try:
        Path(name).write_text("x")
    except OSError:
        pytest.skip("this file system has Unicode names only")
    add_record(name, sha256=sha256_file(name))


PLANTED: dict[str, Callable[[], None]] = {
    "half a letter in parameters": lambda: edit_record("models/a.bin", params={"x": "\ud800"}),
    "half a letter for Snakemake": lambda: edit_record(
        "models/a.bin", snakemake={"endtime": 1.0, "params": ["\ud800"]}
    ),
    "deep parameters": lambda: edit_record("models/a.bin", params={"x": nested(300)}),
    "an input of no name": lambda: edit_inputs("a\0b"),
    "an input of a long name": lambda: edit_inputs("a" * 300),
    "an input below a file": lambda: edit_inputs("models/a.bin/x"),
    "an input that is a loop": add_loop,
    "a record below a file": lambda: add_record("models/a.bin/x"),
    "a file that is a loop": lambda: make_loop(Path("models/a.bin")),
    "a name of two lines": add_record_of_two_lines,
    "a name that is no text": add_record_of_no_text,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_sealed_record_of_odd_things_is_read_or_refused(shared_run, plant):
    """A seal is no signature: whoever writes a record can seal it."""
    with copy_of(shared_run):
        plant()
        attempt(read_folder)
        attempt(prove)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def make_dangling(file: Path) -> None:
    file.unlink()
    file.symlink_to("nowhere")


def make_loop(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.name)


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def make_copy(file: Path) -> None:
    shutil.copy(file, file.with_name("other.bin.json"))


def make_uppercase(file: Path) -> None:
    file.rename(file.with_name(file.name.upper()))


def make_conflict(file: Path) -> None:
    file.write_text(f"<<<<<<< HEAD\n{file.read_text()}=======\n{file.read_text()}>>>>>>> b\n")


def make_large(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(2**36)


def make_binary(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(5000))


def make_odd_name(file: Path) -> None:
    file.with_name("a\nb.json").write_text("{}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "change",
    [
        make_folder,
        make_dangling,
        make_loop,
        make_pipe,
        make_copy,
        make_uppercase,
        make_conflict,
        make_large,
        make_binary,
        make_odd_name,
        Path.unlink,
    ],
)
def test_a_folder_that_holds_what_is_no_record_is_read_or_refused(shared_run, change):
    with copy_of(shared_run):
        change(SHARED / "models/a.bin.json")
        attempt(read_folder)


@pytest.mark.parametrize("field", ["author", "finished", "source", "commit", "rule"])
def test_a_record_adds_no_lines_to_a_proof(shared_run, field):
    """A forged line could say of another table that it is proven."""
    with copy_of(shared_run):
        edit_record(TARGET, **{field: "x\nresults/other.csv: proven\x1b[2J"})
        plan = Plan(Path.cwd(), Path.cwd(), (), (TARGET,), {}, overlays=False)
        messages: list[str] = []
        with contextlib.suppress(MeddiffError):
            verify(plan, cell=None, as_json=False, origin=None, say=messages.append)
        assert all(line.isprintable() for line in messages)


@fewer
@given(data=st.data())
def test_a_mutated_local_record_is_read_or_refused(shared_run, data):
    with copy_of(shared_run):
        file = LOCAL / "models/a.bin.json"
        file.parent.mkdir(parents=True)
        original = (SHARED / "models/a.bin.json").read_bytes()
        file.write_bytes(tampered(data, original))
        check_folder()
