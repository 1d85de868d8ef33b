"""DVC, which carries the bytes: `artefacts.dvc` names them, a remote keeps them."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import yaml

from meddiff.core.errors import MeddiffError, first_names, one_line
from meddiff.core.files import BLOCK_BYTES, atomic_write, write_text
from meddiff.workflow.provenance.record import Record, Records

ARTEFACTS = "artefacts.dvc"
STORED = "files/md5"
"""Where a remote keeps files by content."""


def stages(root: Path, run: Path) -> dict[str, list[str]]:
    """Return the outputs of each stage of `dvc.yaml` where the run directory has one."""
    file = root / "dvc.yaml"
    if run != root or not file.is_file():
        return {}
    declared = yaml.safe_load(file.read_text()).get("stages", {})
    return {
        name: [path for key in ("outs", "metrics") for out in stage.get(key, ()) for path in out]
        for name, stage in declared.items()
    }


def commit(records: Records, checked: Records, staged: dict[str, list[str]], run: Path) -> None:
    """Put files into DVC's cache, and write `artefacts.dvc` and the stages of `dvc.lock`.

    Args:
        records: all files to carry; those that are not here stay listed.
        checked: the files of this share: a stage is locked only if its outputs are among them.
        staged: outputs of each stage, which `artefacts.dvc` must not list as well.
    """
    in_stages = {path for outs in staged.values() for path in outs}
    listed = [records[path] for path in sorted(records) if path not in in_stages]
    here = [record for record in listed if Path(record.path).is_file()]
    _write_artefacts(here, run)
    _dvc(["commit", "--force", "--no-relink", ARTEFACTS], run)
    _write_artefacts(listed, run)
    whole = [
        name
        for name, outs in staged.items()
        if all(out in checked and Path(out).is_file() for out in outs)
    ]
    if whole:
        _dvc(["commit", "--force", "--no-relink", *whole], run)


def push(staged: dict[str, list[str]], run: Path, remote: str | None) -> None:
    """Upload what the remote lacks, and check that nothing is missing then."""
    names = list(staged) if (run / "dvc.lock").is_file() else []
    _dvc(["push", *_remote(remote), ARTEFACTS, *names], run)
    status = json.loads(_dvc(["status", "--cloud", "--json", *_remote(remote), ARTEFACTS], run))
    if missing := [path for path, state in status.items() if state in ("missing", "new")]:
        raise MeddiffError(
            f"{_name(remote)} lacks {first_names(sorted(map(str, missing)))}, and DVC has no copy "
            "here: fetch them first with meddiff restore --everything"
        )


def fetch(
    records: Iterable[Record], root: Path, run: Path, remote: str | None, into: Path | None = None
) -> Iterator[Record]:
    """Bring files from the remote to the run directory, or below `into` as git's HEAD has them.

    Each arrives whole and verified or not at all. What the remote sends is not trusted: no more
    than the recorded number of bytes is read, and bytes of another SHA-256 never reach their place.
    Yields each record as its file arrives.
    """
    from dvc.api import DVCFileSystem

    check_remote(run, remote, needs=STORED)
    # Without a revision, DVC would hand out the file of the run directory where there is one.
    rev = "HEAD" if into else None
    files = DVCFileSystem(str(root), rev=rev, remote=remote, skip_instance_cache=True)
    for record in records:
        place = "/" + (run / record.path).relative_to(root).as_posix()
        with _explained(record, remote):
            if files.info(place).get("md5") != record.md5:
                raise MeddiffError(
                    f"{record.path}: {ARTEFACTS} or dvc.lock and the record in provenance/ speak "
                    "of different bytes: after a merge, take both from one side"
                )
        with (
            _explained(record, remote),
            files.open(place, "rb") as source,
            atomic_write((into or run) / record.path, quiet=True) as temporary,
            temporary.open("wb") as target,
        ):
            _copy(source, target, record)
        yield record


def _copy(source: IO[bytes], target: IO[bytes], record: Record) -> None:
    sha256, left = hashlib.sha256(), record.size
    while block := source.read(min(BLOCK_BYTES, left + 1)):
        left -= len(block)
        if left < 0:
            break
        sha256.update(block)
        target.write(block)
    if left or sha256.hexdigest() != record.sha256:
        fault = "is too long" if left < 0 else f"lacks {left} bytes" if left else "has other bytes"
        raise MeddiffError(
            f"{record.path}: what DVC delivered {fault}, against its record, and was refused; "
            f"remove the broken object {STORED}/{record.md5[:2]}/{record.md5[2:]} from the remote "
            "and .dvc/cache, and have whoever shared it run `meddiff share` again"
        )


@contextmanager
def _explained(record: Record, remote: str | None) -> Iterator[None]:
    try:
        yield
    except MeddiffError:
        raise
    except FileNotFoundError:
        raise MeddiffError(
            f"{record.path}: not in {_name(remote)}; pull the latest commits, or have whoever "
            "shared it run `meddiff share` again"
        ) from None
    except Exception as error:
        raise MeddiffError(
            f"{record.path}: cannot be read from {_name(remote)}: {one_line(error)}; finished "
            "files are kept, run the same command again"
        ) from None


def check_remote(run: Path, remote: str | None, *, needs: str) -> None:
    """Check that there is a remote to fetch from or push to.

    Args:
        needs: what must be there of a folder, from the folder: `STORED` to fetch, "." to push to a
            remote that was in use before, ".." to push for the first time.
    """
    from dvc.config import Config
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        config = Config(dvc_dir=Repo.find_dvc_dir(str(run)))
    except DvcException as error:
        raise MeddiffError(f"dvc: {one_line(error)}") from None
    name = remote or config["core"].get("remote")
    if name is None:
        raise MeddiffError(
            "no DVC remote is set up: `dvc remote add --default NAME ADDRESS` (a directory, s3://, "
            "ssh:// or gdrive:// address), see README, Sharing"
        )
    if name not in config["remote"]:
        raise MeddiffError(
            f"there is no DVC remote {name}: name one of {', '.join(config['remote']) or 'none'} "
            "(`dvc remote add` makes another)"
        )
    address = config["remote"][name]["url"]
    folder = Path(address.removeprefix("file://"))
    # DVC itself makes a folder that is not there, in the place where a disk should be mounted.
    needed = Path(os.path.normpath(folder / needs))
    if "://" not in address.removeprefix("file://") and not needed.is_dir():
        raise MeddiffError(
            f"the remote {name} is the folder {folder}, and {needed} is not there: mount its disk, "
            f"or correct the path with `dvc remote modify --local {name} url FOLDER`"
        )


def _write_artefacts(records: Sequence[Record], run: Path) -> None:
    outs = [
        {"md5": record.md5, "size": record.size, "hash": "md5", "path": record.path}
        for record in records
    ]
    write_text(yaml.safe_dump({"outs": outs}, sort_keys=False), run / ARTEFACTS, quiet=True)


def _dvc(arguments: Sequence[str], run: Path) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    done = subprocess.run(command, cwd=run, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = "; ".join(line.removeprefix("ERROR: ") for line in errors) or done.stderr.strip()
        raise MeddiffError(f"dvc {arguments[0]}: {reason}")
    return done.stdout


def _remote(name: str | None) -> list[str]:
    return ["--remote", name] if name else []


def _name(remote: str | None) -> str:
    return f"the remote {remote}" if remote else "the default remote"
