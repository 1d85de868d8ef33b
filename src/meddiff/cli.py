"""The command `meddiff`: share, restore and verify what the workflow makes.

Arguments that these commands do not know are Snakemake's: targets, `--profile`, `--configfile`,
`--config`, `--directory`. They must be the ones that the run was made with.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from meddiff.errors import MeddiffError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, or 1 with one line that says what is wrong."""
    options, rest = _parser().parse_known_args(argv)
    command: Callable[[argparse.Namespace, list[str]], int] = options.command
    try:
        return command(options, rest)
    except KeyboardInterrupt:
        print("interrupted: finished files are kept", file=sys.stderr)
        return 130
    except MeddiffError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="meddiff", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="share | restore | verify")

    def add(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        usage = f"meddiff {name} [options] [target ...] [snakemake's options]"
        sub = commands.add_parser(name, help=text, description=text, usage=usage,
                                  allow_abbrev=False)  # fmt: skip
        sub.set_defaults(command=run)
        return sub

    sharing = add("share", _share, "record a finished run and push its files to the DVC remote")
    sharing.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default one")
    sharing.add_argument("--without-raw", action="store_true",
                         help="record raw archives but keep their bytes here")  # fmt: skip
    sharing.add_argument("--prune", action="store_true",
                         help="drop records of files that are not behind the targets")  # fmt: skip
    restoring = add("restore", _restore, "fetch the shared files that a target needs, and no more")
    restoring.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default")
    restoring.add_argument("--everything", action="store_true",
                           help="fetch every shared file behind the targets")  # fmt: skip
    restoring.add_argument("--replace", action="store_true",
                           help="set aside targets that differ from what was shared")  # fmt: skip
    verifying = add("verify", _verify, "tell what a table was made from, and prove it")
    verifying.add_argument("--remote", metavar="NAME", help="a DVC remote other than the default")
    verifying.add_argument("--cell", metavar="COLUMN=VALUE,…",
                           help="tell all about the cells of these rows")  # fmt: skip
    verifying.add_argument("--json", action="store_true", help="print everything as JSON")
    return parser


def _share(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.sharing.dag import open_plan
    from meddiff.sharing.share import share

    with open_plan(rest) as plan:
        share(plan, raw=not options.without_raw, prune=options.prune, to=options.remote, say=_say)
    return 0


def _restore(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.sharing import restore
    from meddiff.sharing.dag import check_lock, in_run_directory, open_plan

    origin = options.remote
    if options.replace:
        with in_run_directory(rest) as (root, run, targets):
            check_lock()
            restore.replace(targets, root, run, origin, _say)
    with open_plan(rest) as plan:
        count = restore.restore(plan, everything=options.everything, origin=origin, say=_say)
    with open_plan(rest) as plan:
        rules = sorted({step.rule for step in plan.planned})
        _say(f"fetched and verified {count} files")
        _say(
            f"snakemake would now run {len(plan.planned)} jobs ({', '.join(rules)})"
            if plan.planned
            else f"snakemake has nothing to do for {' '.join(plan.targets)}"
        )
    return 0


def _verify(options: argparse.Namespace, rest: list[str]) -> int:
    from meddiff.sharing.dag import open_plan
    from meddiff.sharing.verify import verify

    with open_plan(rest) as plan:
        return verify(
            plan, cell=options.cell, as_json=options.json, origin=options.remote, say=_say
        )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
