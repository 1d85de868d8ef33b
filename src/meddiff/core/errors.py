"""The one error that a user is meant to read."""

AFFECTS_RESULTS = False


class MeddiffError(Exception):
    """Bad input or a bad environment, in one line: what is wrong, where, and what to do."""
