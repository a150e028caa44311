"""What the demos share: calling the three doors as commands, as a user would."""

import subprocess
import sys

from audiodata.console import out
from audiodata.errors import AudioDataError

FILES_FAILED = 1  # the exit code of a build that is finished although some files can't be decoded


def step(door: str, *words: object, allowed: tuple[int, ...] = (0,)) -> None:
    """Run a command, showing it first.

    Parameters
    ----------
    door : str
        "audiodata", "pipelines" or "models".
    *words : str or path
        The command and its arguments.
    allowed : tuple of int
        Exit codes that are no failure.

    Raises
    ------
    AudioDataError
        Another exit code; what the command itself said is above.
    """
    line = [str(word) for word in words]
    out.print(f"\n$ python -m {door} {' '.join(line)}", style="bold")
    code = subprocess.run([sys.executable, "-m", door, *line], check=False).returncode
    if code not in allowed:
        raise AudioDataError(f"demo: `python -m {door} {line[0]}` ended with exit code {code}; its message is above")
