"""Call ``python -m models`` without a new process, for the tests of training."""

import sys

import pytest

from audiodata.console import run_door
from models.__main__ import app


def door(*words):
    """Run the door; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["models", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            run_door(app)
    return left.value.code or 0


def refused(capsys, *words):
    """Return the one line that a command ends with that exits with 2."""
    capsys.readouterr()
    assert door(*words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]
