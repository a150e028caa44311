"""What the three doors share: errors as one line with exit code 2, and tables for people."""

import numbers
import sys
from collections.abc import Iterable
from typing import NoReturn

import typer
from rich.console import Console
from rich.table import Table

from audiodata.errors import AudioDataError

BAD_INPUT = 2
INTERRUPTED = 130

# Names of clips and tables of catalogs are printed: brackets and colons in them are no styles.
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def run_door(app: typer.Typer) -> NoReturn:
    """Run a typer application as a program.

    A wrong call and bad input print one line and exit with 2; Ctrl-C says that the work can be continued and exits with 130; a bug keeps
    its traceback.
    """
    try:
        code = app(standalone_mode=False)
    except AudioDataError as error:
        _leave(_one_line(str(error)), BAD_INPUT)
    except typer.TyperException as error:
        if not str(error):  # no command at all: typer has a page of help to show
            error.show()
            sys.exit(BAD_INPUT)
        _leave(f"{_one_line(error.format_message())} (see --help)", BAD_INPUT)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        _leave("interrupted; the same command continues where it stopped", INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _one_line(message: str) -> str:
    return f"error: {' '.join(message.split())}"


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
