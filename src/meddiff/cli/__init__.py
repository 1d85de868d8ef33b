"""The command `meddiff`."""

from meddiff.cli.main import main as main
