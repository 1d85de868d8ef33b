"""The command `meddiff`: evaluate any images; show tables; share, restore and verify results.

Arguments that share, restore and verify do not know are Snakemake's: targets, `--profile`,
`--configfile`, `--config`, `--directory`. They must be the ones that the run was made with.
"""

import argparse
from collections.abc import Sequence
from functools import partial

from meddiff.cli import evaluate, restore, share, show, verify
from meddiff.core.console import run_command
from meddiff.core.errors import MeddiffError

COMMANDS = {
    "evaluate": evaluate, "show": show, "share": share, "restore": restore, "verify": verify,
}  # fmt: skip
"""Modules with HELP, `add_arguments(parser)`, `run(options, rest)`; USAGE if `rest` is used."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 1 with one line that says what is wrong."""
    return run_command(partial(_run, argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(prog="meddiff", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, dest="command", metavar=" | ".join(COMMANDS))
    for name, module in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", module.HELP),
            usage=getattr(module, "USAGE", None),
            allow_abbrev=False,
        )
        module.add_arguments(sub)
    options, rest = parser.parse_known_args(argv)
    command = COMMANDS[options.command]
    if rest and not hasattr(command, "USAGE"):
        raise MeddiffError(
            f"{options.command} does not know {' '.join(rest)}: see meddiff {options.command} "
            "--help"
        )
    return command.run(options, rest)
