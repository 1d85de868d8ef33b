"""What surrounds a job: logs, progress, threads, errors in one line."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import ROOT
from meddiff.core.arrays import load_array, load_by_class, save_array
from meddiff.core.batches import batches, count_steps
from meddiff.core.errors import MeddiffError
from meddiff.core.progress import Progress
from meddiff.core.randomness import stream, stream_seed
from meddiff.core.settings import DurationSettings
from meddiff.workflow.estimate import estimate
from meddiff.workflow.session import check_run

HEAD = """
import logging, sys
from pathlib import Path
from types import SimpleNamespace
from meddiff.workflow.jobs import job
snakemake = SimpleNamespace(
    log=["logs/x.log"], config={config!r}, rule="x", input={inputs!r}, output=["made.csv"],
    params={{"seed": 3}}, scriptdir={scripts!r}, resources=SimpleNamespace({resources}),
)
with job(snakemake) as device:
    Path("made.csv").write_text("a")
    """


def run(
    code: str,
    folder: Path,
    first: str = "",
    threads: int = 3,
    device: str = "cpu",
    resources: str = "",
    inputs: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a job in its own process: imports `first`, with `compute.threads`."""
    config = {"compute": {"threads": threads, "device": device}}
    scripts = str(ROOT / "workflow/scripts")
    head = first + HEAD.format(
        config=config, scripts=scripts, resources=resources, inputs=list(inputs)
    )
    return subprocess.run(
        [sys.executable, "-c", head + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )


def read_log(folder: Path) -> str:
    return (folder / "logs/x.log").read_text()


def read_job_record(folder: Path) -> dict:
    return json.loads((folder / ".snakemake/meddiff/records/made.csv.json").read_text())


IMAGES = {
    "2018": "ISIC2018_Task3_Training_Input.zip",
    "2019": "ISIC_2019_Training_Input.zip",
    "2020": "ISIC_2020_Training_JPEG.zip",
}


def test_a_fault_of_the_user_is_one_line(tmp_path):
    done = run(
        "from meddiff.core.errors import MeddiffError; raise MeddiffError('bad input')", tmp_path
    )
    assert done.returncode == 1
    assert done.stderr.strip() == "error: bad input"
    assert "error: bad input" in read_log(tmp_path) and "Traceback" not in read_log(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="of Linux")
def test_a_log_that_cannot_be_written_adds_no_traceback(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/x.log").symlink_to("/dev/full")
    code = "from meddiff.core.errors import MeddiffError; raise MeddiffError('the disk is full')"
    done = run(code, tmp_path)
    assert done.returncode == 1 and done.stderr == "error: the disk is full\n"


def test_a_fault_of_ours_keeps_its_traceback(tmp_path):
    done = run("raise KeyError('oops')", tmp_path)
    assert done.returncode == 1
    assert "Traceback" in read_log(tmp_path)


def test_a_job_logs_what_the_library_says_and_its_time(tmp_path):
    done = run("logging.getLogger('meddiff.x').info('made it')", tmp_path)
    assert done.returncode == 0
    assert re.search(r"^\d{4}-.* made it$", read_log(tmp_path), re.M)
    assert "done in" in done.stderr


HIDDEN = "import os; os.environ['CUDA_VISIBLE_DEVICES'] = ''; import torch"


def test_a_job_with_nets_that_asks_for_no_gpu_has_the_configured_threads(tmp_path):
    code = "print(torch.get_num_threads(), device)"
    done = run(code, tmp_path, first=HIDDEN, device="cuda", resources="gpu=0")
    assert done.stdout.strip() == "3 cpu"
    machine = read_job_record(tmp_path)["machine"]
    assert machine["threads"] == 3 and machine["device"] == "cpu" and machine["instructions"]


def test_a_job_that_asks_for_a_gpu_needs_one(tmp_path):
    done = run("pass", tmp_path, first=HIDDEN, device="cuda", resources="gpu=1")
    assert done.returncode == 1 and re.search(r"compute\.device .*\bcuda\b", done.stderr)


def test_a_job_without_nets_computes_with_one_thread_and_no_torch(tmp_path):
    pools = (
        "import numpy, threadpoolctl as t; print({p['num_threads'] for p in t.threadpool_info()})"
    )
    done = run(f"{pools}; print('torch' in sys.modules)", tmp_path, first="import numpy")
    assert done.stdout.splitlines() == ["{1}", "False"]
    assert read_job_record(tmp_path)["machine"]["threads"] == 1


def test_a_finished_job_leaves_a_record_and_a_failed_one_none(tmp_path):
    assert run("raise KeyError('oops')", tmp_path).returncode == 1
    assert not (tmp_path / ".snakemake").exists()
    assert run("pass", tmp_path).returncode == 0
    record = read_job_record(tmp_path)
    assert (record["rule"], record["params"], record["size"]) == ("x", {"seed": 3}, 1)


def test_a_job_removes_what_a_killed_one_left_of_its_outputs(tmp_path):
    dies = "with files.atomic_write('made.csv'): files.os.kill(files.os.getpid(), 9)"
    assert run(dies, tmp_path, first="from meddiff.core import files").returncode == -9
    assert len(list(tmp_path.glob(".made-*.csv"))) == 1
    (tmp_path / ".made-mine.csv").write_text("a file of somebody else")
    assert run("pass", tmp_path).returncode == 0
    assert [path.name for path in tmp_path.glob(".made*")] == [".made-mine.csv"]


@pytest.mark.parametrize("change", ["write_text('b')", "unlink()", "rename('elsewhere')"])
@pytest.mark.parametrize("then", ["pass", "raise KeyError('garbled')"])
def test_a_job_whose_input_changes_while_it_runs_leaves_no_record(tmp_path, change, then):
    (tmp_path / "read.csv").write_text("a")
    done = run(f"Path('read.csv').{change}; {then}", tmp_path, inputs=["read.csv"])
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.fullmatch(r"error: read\.csv: .*", done.stderr.strip())
    assert not (tmp_path / ".snakemake/meddiff/records").exists()


def test_a_job_whose_input_is_touched_while_it_runs_is_recorded(tmp_path):
    (tmp_path / "read.csv").write_text("a")
    assert run("Path('read.csv').touch()", tmp_path, inputs=["read.csv"]).returncode == 0
    assert read_job_record(tmp_path)["inputs"].keys() == {"read.csv"}


def test_progress_tells_loss_and_time_left_in_a_log(caplog):
    caplog.set_level("INFO")
    with Progress(4, "ddpm x", every=0) as progress:
        progress.advance(loss=0.5)
    assert re.search(r"ddpm x: 1/4 steps, loss 0\.5, .* s left", caplog.text)


@pytest.mark.parametrize(("level", "count"), [("INFO", 1), ("WARNING", 1), ("ERROR", 0)])
def test_progress_without_a_terminal_is_said_once(capsys, caplog, level, count):
    """As `meddiff evaluate` into a pipe, which logs warnings; other ranks log errors alone."""
    caplog.set_level(level)
    with Progress(4, "evaluate", "part", every=0) as progress:
        progress.advance()
    lines = capsys.readouterr().err + caplog.text
    assert lines.count("evaluate: 1/4 parts") == count


def test_progress_draws_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(2, "sample x", unit="image") as progress:
        progress.advance(2, loss=0.25)
    assert "sample x: 100%" in terminal.getvalue() and "loss=0.25" in terminal.getvalue()


def test_streams_are_named_and_independent():
    assert stream_seed(1, "a") == stream_seed(1, "a")
    seeds = {stream_seed(*key) for key in [(1, "a"), (2, "a"), (1, "b"), (1, "a", 0), ("1a",)]}
    assert len(seeds) == 5
    assert stream(1, "a").random() == stream(1, "a").random()


def test_every_epoch_sees_every_image_once():
    result = list(batches(10, 4, 6, 0, "x"))
    assert [b.step for b in result] == [1, 2, 3, 4, 5, 6]
    assert [b.ends_epoch for b in result] == [False, False, True] * 2
    first, second = (np.concatenate([b.members for b in result if b.epoch == e]) for e in (1, 2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(
    ("duration", "steps"), [({"steps": 7}, 7), ({"epochs": 3}, 9), ({"epochs": 1}, 3)]
)
def test_steps_of_a_training(duration, steps):
    assert count_steps(DurationSettings.model_validate(duration), images=10, batch_size=4) == steps


@pytest.mark.parametrize(("images", "sizes"), [(9, [4, 5]), (5, [5]), (8, [4, 4]), (1, [1])])
def test_no_batch_holds_a_single_image(images, sizes):
    """Batch norm cannot be trained on one image, so a last one joins the batch before."""
    steps = count_steps(DurationSettings.model_validate({"epochs": 1}), images, 4)
    result = list(batches(images, 4, steps, 0, "x"))
    assert [len(b.members) for b in result] == sizes and result[-1].ends_epoch
    assert sorted(np.concatenate([b.members for b in result])) == list(range(images))


def test_arrays_come_back_class_by_class(tmp_path):
    for split, value in (("a", 1), ("b", 2)):
        save_array(np.full((2, 3), value), tmp_path / split / "benign.npy")
    result = load_by_class([tmp_path / "a/benign.npy", tmp_path / "b/benign.npy"], ["benign"])
    assert result["benign"][:, 0].tolist() == [1, 1, 2, 2]


def test_a_truncated_array_is_reported(tmp_path):
    save_array(np.zeros((100, 100)), tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:500])
    with pytest.raises(MeddiffError, match=r"x\.npy .*whole array"):
        load_array(tmp_path / "x.npy")


def test_an_array_of_objects_is_refused(tmp_path):
    """Objects would be unpickled, which runs code."""
    np.save(tmp_path / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(MeddiffError, match=r"x\.npy .*whole array"):
        load_array(tmp_path / "x.npy")


def test_a_run_without_credentials_stops(tmp_path, monkeypatch):
    for variable in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MeddiffError, match=r"KAGGLE_API_TOKEN.*make demo"):
        check_run(["mednist/MedNIST.tar.gz", "kaggle/2018.zip"], {})
    check_run(["mednist/MedNIST.tar.gz"], {})
    check_run(["kaggle/2018.zip"], {"kaggle://nischaydnk": "https://mirror"})
    (tmp_path / "2018.zip").touch()
    check_run(["kaggle/2018.zip"], {}, local={"kaggle/2018.zip": tmp_path / "2018.zip"})


def test_downloads_without_room_stop_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=30e9))
    big = [f"isic/{edition}/{name}" for edition, name in IMAGES.items()]
    check_run(big[:2], {})
    with pytest.raises(MeddiffError, match=r"34\.7 GB .*30\.0 GB .*--directory"):
        check_run(big, {})
    # What an interrupted download has left, and what a folder has in place of a download, is known.
    part = tmp_path / "data/raw/published/isic/2020/.ISIC_2020_Training_JPEG.zip.part"
    part.parent.mkdir(parents=True)
    with part.open("wb") as sparse:
        sparse.truncate(5 * 10**9)
    check_run(big, {})
    part.unlink()
    (tmp_path / "small.zip").write_bytes(b"0")
    check_run(big, {}, local={big[0]: tmp_path / "small.zip", big[1]: tmp_path / "small.zip"})


def test_a_read_only_folder_stops_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "results")
    (tmp_path / "results").mkdir()
    with pytest.raises(MeddiffError, match=r"results/: .*read-only"):
        check_run([], {})


def test_a_script_from_a_repository_may_start_processes(tmp_path):
    """Snakemake gives it the name that it has there, which is no file here."""
    first = "__file__ = 'git+file:///published/meddiff/workflow/scripts/x.py@v1'\n"
    code = (
        "from concurrent.futures import ProcessPoolExecutor\n"
        "    from multiprocessing import get_context\n"
        "    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:\n"
        "        Path('made.csv').write_text(str(pool.submit(abs, -7).result()))\n"
    )
    done = run(code, tmp_path, first=first)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "made.csv").read_text() == "7"


def test_the_time_of_a_run_is_that_of_its_jobs_before(tmp_path):
    paths = [tmp_path / f"{number}.tsv" for number in range(4)]
    for path, seconds in zip(paths, (600, 60, 30), strict=False):
        path.write_text(f"s\th:m:s\tcpu_time\n{seconds}.0\t0:10:00\t5\n")
    text = estimate([*paths, None], 2)
    assert text and re.search(r"^4 jobs, .*\b10 min\b.*\(1 ", text)
    assert re.search(r"^2 jobs, .*\b2 min\b[^(]*$", estimate(paths[1:3], 1) or "")
    assert re.search(r"^1 jobs, .*\b30 s\b[^(]*$", estimate(paths[2:3], 4) or "")
    paths[0].write_text("s\n")
    paths[1].write_text("nothing")
    assert estimate(paths, 2) is None and estimate([], 2) is None
