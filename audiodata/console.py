"""What the three doors share: errors as one line with exit code 2, and tables for people."""

import numbers
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from rich.console import Console
from rich.table import Table

from audiodata.errors import AudioDataError

BAD_INPUT = 2
INTERRUPTED = 130

out = Console(highlight=False, soft_wrap=True)


def run_door(app: Callable[[], None]) -> NoReturn:
    """Run a typer application as a program.

    Bad input prints one line and exits with 2; Ctrl-C says that the work can be continued and exits with 130; a bug keeps its traceback.
    """
    try:
        app()
    except AudioDataError as error:
        _leave(f"error: {' '.join(str(error).split())}", BAD_INPUT)
    except KeyboardInterrupt:
        _leave("interrupted; the same command continues where it stopped", INTERRUPTED)
    sys.exit(0)


def _leave(message: str, code: int) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    sys.exit(code)


def print_table(title: str, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; columns of numbers are right-aligned."""
    rows = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[position], numbers.Number) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)
