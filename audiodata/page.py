"""Pieces of an HTML page that needs no other file: the frame, tables, pictures."""

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
table {{ border-collapse: collapse; margin: .6rem 0 1.2rem; }}
td, th {{ padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }}
td.number, th.number {{ text-align: right; font-variant-numeric: tabular-nums; }} th {{ border-bottom: 1px solid #999; font-weight: 600; }}
code {{ font-size: 13px; overflow-wrap: anywhere; }} img {{ max-width: 100%; }} h2 {{ margin-top: 2rem; }}
</style>
<h1>{title}</h1>
{body}
</html>
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows of a table as HTML, numbers to the right; without a head where all columns are nameless."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns) if any(columns) else ""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    kind = ' class="number"' if isinstance(value, int | float | np.number) else ""
    return f"<td{kind}>{html.escape(str(value))}</td>"


def short(value: Any) -> Any:
    """Round a float to four digits; leave everything else."""
    return f"{value:.4g}" if isinstance(value, float) else value


def image(figure: Any, description: str) -> str:
    """A matplotlib figure inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return embedded(buffer.getvalue(), "png", description)


def embedded(data: bytes, kind: str, description: str) -> str:
    """A picture file ("png", "gif") inside the page."""
    text = base64.b64encode(data).decode("ascii")
    return f'<p><img alt="{html.escape(description)}" src="data:image/{kind};base64,{text}"></p>'
