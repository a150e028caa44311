"""What an examination finds, a line at a time."""

from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the examination.

    Attributes
    ----------
    subject : str
    state : str
        "ok", "note" (works, within limits that are worth knowing), "missing" (an option that is not there) or "problem".
    detail : str
        What was found, or what to do.
    """

    subject: str
    state: str
    detail: str
