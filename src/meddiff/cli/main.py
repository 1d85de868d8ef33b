"""The command `meddiff`: evaluate any images; show tables; share, restore and verify results.

share, restore, verify and export also take Snakemake's arguments: targets, `--profile`,
`--configfile`, `--config`, `--directory`. Use those of the run.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from meddiff.cli import evaluate, evaluate_options, readers, results, study
from meddiff.core.console import run_command
from meddiff.core.errors import MeddiffError


class Command(NamedTuple):
    """A subcommand; `run` takes its options and, if `takes_targets`, Snakemake's arguments."""

    run: Callable[[argparse.Namespace, list[str]], int]
    arguments: results.Arguments
    help: str
    description: str | None = None
    takes_targets: bool = False


_of_targets = partial(Command, takes_targets=True)
COMMANDS = {
    "evaluate": Command(
        evaluate.run,
        evaluate_options.ARGUMENTS,
        "score synthetic images against real ones",
        evaluate_options.DESCRIPTION,
    ),
    "show": Command(results.show, results.SHOW, "print a table in readable form"),
    "study": Command(
        study.run,
        study.ARGUMENTS,
        "write docs/study.md: the study's published numbers beside those of runs",
    ),
    "readers": Command(
        readers.run,
        readers.ARGUMENTS,
        "make a reader study of real and synthetic images, and score its answers",
        readers.DESCRIPTION,
    ),
    "share": _of_targets(
        results.share, results.SHARE, "record a finished run and push its files to the DVC remote"
    ),
    "restore": _of_targets(
        results.restore, results.RESTORE, "fetch only the shared files that a target needs"
    ),
    "verify": _of_targets(
        results.verify, results.VERIFY, "check what a table was made from, and print it"
    ),
    "export": _of_targets(
        results.export, results.EXPORT, "write a run as an RO-Crate: results and their provenance"
    ),
    "pack": Command(
        results.pack,
        results.PACK,
        "pack runs into one file, for a machine without their raw archives or DVC",
    ),
    "unpack": Command(results.unpack, results.UNPACK, "unpack runs from such a file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 1 with one line that says what is wrong."""
    return run_command(partial(_run, argv))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(prog="meddiff", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command", metavar=" | ".join(COMMANDS))
    for name, command in COMMANDS.items():
        usage = f"meddiff {name} [options] [target ...] [snakemake's options]"
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.description or command.help,
            usage=usage if command.takes_targets else None,
            allow_abbrev=False,
        )
        if command.takes_targets:
            sub.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default")
        for argument, keywords in command.arguments.items():
            sub.add_argument(argument, **keywords)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    options, rest = build_parser().parse_known_args(argv)
    command = COMMANDS[options.command]
    if rest and not command.takes_targets:
        raise MeddiffError(
            f"{options.command} does not know {' '.join(rest)}: see meddiff {options.command} "
            "--help"
        )
    return command.run(options, rest)
