"""What the user can put right."""


class UserError(ValueError):
    """A mistake of input: the message names the value, what was expected and the remedy. `run.py` prints it in one
    line and ends with status 2; every other exception is a bug and shows its traceback."""
