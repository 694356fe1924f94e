"""The error a person can act on."""


class UserError(Exception):
    """Something that the user, the data or the environment must change.

    The message says what was wrong and what is allowed; commands print it without a traceback.
    """
