"""Programs of the environment that start at once: forks of a process that has imported everything.

A run of the workflow starts some hundred processes, and each spends seconds on importing torch,
Snakemake or DVC. `programs` gives a folder with stand-ins for `python`, `snakemake`, `meddiff` and
`dvc`. They hand their arguments, environment, working directory and open files to a server, which
forks; from there on the process does what the real program does. Snakemake inside a fork finds the
stand-in as `sys.executable`, so that its jobs start the same way.

With PYTHONPATH in the environment, or options of the interpreter, the real program starts.
"""

import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

NAMES = ("python", "snakemake", "meddiff", "dvc")
STAND_IN = """#!{python} -IS
import os, sys

name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
is_script = arguments and (arguments[0] == "-m" or arguments[0].endswith(".py"))
if "PYTHONPATH" in os.environ or name == "python" and not is_script:
    program = os.path.join(os.path.dirname({python!r}), name)
    os.execv(program, [program, *arguments])
import json, socket

request = dict(name=name, arguments=arguments, folder=os.getcwd(), environment=dict(os.environ))
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
socket.send_fds(server, [b"."], [0, 1, 2])
with server.makefile("rwb") as stream:
    stream.write(json.dumps(request).encode() + b"\\n")
    stream.flush()
    code = stream.readline()
sys.exit(int(code) if code else 137)
"""
PRELOADED = ("torch", "torchvision", "monai.networks.nets", "pandas", "scipy.stats", "sklearn.svm",
             "sklearn.metrics", "skimage.metrics", "matplotlib.pyplot", "cv2", "simplejpeg",
             "snakemake.cli", "snakemake.api", "snakemake.report", "dvc.cli.parser", "dvc.repo",
             "dvc_data.index", "dvc_s3", "s3fs")  # fmt: skip


@contextlib.contextmanager
def programs() -> Iterator[Path]:
    """Yield a folder with the stand-ins; their server ends with the block."""
    # A socket's path may not be longer than some hundred characters.
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = f"{folder}/socket"
        for name in NAMES:
            file = Path(folder, name)
            file.write_text(STAND_IN.format(python=sys.executable, address=address))
            file.chmod(0o755)
        command = [sys.executable, __file__, address]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None and server.stdout.readline() == b"ready\n"
            try:
                yield Path(folder)
            finally:
                server.terminate()


def serve(address: str) -> None:
    """Fork for each request until terminated."""
    _import_everything()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen(64)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _answer(connection, Path(address).parent)
        connection.close()


def _import_everything() -> None:
    import importlib
    import pkgutil

    import meddiff

    for name in PRELOADED:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(meddiff.__path__, "meddiff."):
        importlib.import_module(module.name)
    # The archives that tests serve are tiny; the published ones ask for a large disk.
    importlib.import_module("meddiff.workflow.session").check_space = lambda *_: None
    # The digests of unedited code, which take most of the time of a dry-run.
    from meddiff.workflow.provenance.fingerprint import fingerprint

    for script in (Path(__file__).parents[1] / "workflow/scripts").glob("*.py"):
        fingerprint(script)


def _answer(connection: socket.socket, folder: Path) -> None:
    """Become the program that the request names, and send its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    code = 1
    with connection.makefile("rwb") as stream:
        try:
            code = _run(json.loads(stream.readline()), folder)
        except BaseException:
            traceback.print_exc()
        for out in (sys.stdout, sys.stderr):
            with contextlib.suppress(BrokenPipeError):
                out.flush()
        stream.write(f"{code}\n".encode())
        stream.flush()
    os._exit(code)


def _run(request: dict, folder: Path) -> int:
    name, arguments = request["name"], request["arguments"]
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable = str(folder / "python")
    sys.argv = [name, *arguments]
    try:
        if name == "snakemake":
            from snakemake.cli import main

            main()
        elif name == "meddiff":
            from meddiff.cli import main

            sys.exit(main())
        elif name == "dvc":
            from dvc.cli import main

            sys.exit(main())
        elif arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
