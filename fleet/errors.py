"""What a person has to mend before anything is done."""


class UserError(Exception):
    """Nothing was changed; the message says why, and what to do about it."""
