"""The one error that a user is meant to read."""


class MeddiffError(Exception):
    """Bad input or a bad environment, in one line: what is wrong, where, and what to do."""
