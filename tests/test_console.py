"""What people read: names of clips and tables of a catalog stand there as they are, whatever their brackets mean to a terminal library."""

import pytest

from audiodata.console import out, print_table

TEXT = "[audio] channels = 4, [/bold] and :dog: [red]x"


@pytest.mark.parametrize("show", [
    lambda text: out.print(f"rejected clip: {text}"),
    lambda text: print_table("clips", ("clip", "examples"), [(text, 3)]),
    lambda text: print_table(text, ("clip", "examples"), [("a", 3)]),
])
def test_brackets_are_shown_as_they_are(show, capsys, monkeypatch):
    monkeypatch.setattr(out, "_width", 200)
    show(TEXT)
    assert TEXT in capsys.readouterr().out
