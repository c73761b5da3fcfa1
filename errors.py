"""Mistakes of the user, and the one line in which an error is said."""


class UserError(ValueError):
    """A mistake of input: the message names the value, what was expected and the remedy. `run.py` prints it in one
    line and ends with status 2; every other exception is a bug and shows its traceback."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's name where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()
