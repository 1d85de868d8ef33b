"""Commands beside other programs: a reader that stops early, Ctrl-C, files of somebody else."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from meddiff.cli.main import COMMANDS, main
from meddiff.core.console import run_command, say
from meddiff.core.errors import MeddiffError
from plain_user import plain_user


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.TextIOWrapper]:
    """Standard output into a pipe whose reader has gone, as after `| head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield stream


@pytest.mark.parametrize("status", [0, 1])
def test_a_command_whose_reader_has_gone_ends_its_work_with_its_own_status(left, capsys, status):
    done = []

    def command() -> int:
        say("first")
        say("second")
        done.append("work")
        return status

    assert run_command(command) == status
    assert done == ["work"] and capsys.readouterr().err == ""


def test_what_was_only_buffered_is_no_fault_at_the_end(left, capsys):
    def command() -> int:
        print("not yet sent")
        return 0

    assert run_command(command) == 0
    left.flush()


@pytest.mark.parametrize(
    ("fault", "status", "line"),
    [
        (KeyboardInterrupt(), 128 + signal.SIGINT, "interrupted"),
        (MeddiffError("bad input"), 1, "error: bad input"),
    ],
)
def test_a_fault_is_one_line(capsys, fault, status, line):
    def command() -> int:
        raise fault

    assert run_command(command) == status
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1 and err.endswith("\n")


def test_a_file_of_somebody_else_is_one_line(tmp_path, capsys):
    table = tmp_path / "table.csv"
    table.write_text("a\n1\n")
    table.chmod(0)
    with plain_user():
        assert main(["show", str(table)]) == 1
    err = capsys.readouterr().err
    assert str(table) in err and err.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_goes_through_it(command, monkeypatch, capsys):
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, command, COMMANDS[command]._replace(run=interrupted))
    needed = {"evaluate": "a b", "show": "a", "pack": "a b", "unpack": "a",
              "readers": "make a", "export": "a --license x"}  # fmt: skip
    assert main([command, *needed.get(command, "").split()]) == 130
    assert capsys.readouterr().err.count("\n") == 1


def test_a_pipe_that_closes_early_is_no_error_of_a_real_process():
    meddiff = [sys.executable, "-c", "import sys; from meddiff.cli import main; sys.exit(main())"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*meddiff, "--help"], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_in_a_real_process_is_one_line(tmp_path):
    waiting = (
        "import sys, time\nfrom meddiff.cli.main import COMMANDS, main\n"
        "def wait(*_):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "COMMANDS['verify'] = COMMANDS['verify']._replace(run=wait)\nsys.exit(main(['verify']))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", waiting],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and err.count(b"\n") == 1
