"""The door to the networks: list, train, evaluate."""

import importlib
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from audiodata.console import out, print_table, run_door
from audiodata.errors import AudioDataError
from audiodata.settings import Settings, nearest, validated
from models import MODELS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command("list")
def list_models() -> None:
    """Show the networks that can be trained."""
    rows = [(name, model.task, model.twin or "-", model.summary) for name, model in MODELS.items()]
    print_table("networks", ("name", "task", "twin", "what it is"), rows)


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A network that `list` shows.")],
    cache: Annotated[Path, typer.Option(help="What a build wrote.")],
    run: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="How often all training examples are seen, at most.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything random.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the network or the training.")] = None,
) -> None:
    """Train a network on a cache and measure it on the test split."""
    if name not in MODELS:
        raise AudioDataError(f"unknown network `{name}`{nearest(name, list(MODELS))}")
    model = MODELS[name]
    page = importlib.import_module(model.page)
    given = parse_changes(changes or []) | {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}
    settings, training = split_settings(given, model.config, page.TRAINING[name])
    try:
        metrics = page.train(name, cache, run, settings, training, resume=resume)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(run)) from None
    _report(metrics, run)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `train` wrote.")],
    cache: Annotated[Path, typer.Option(help="What a build wrote.")],
    split: Annotated[str, typer.Option(help="One of the cache's splits.")] = "test",
) -> None:
    """Measure a trained network on one split of a cache."""
    evaluation = importlib.import_module("models.evaluation")
    _report(evaluation.evaluate_run(run, cache, split), run)


def parse_changes(changes: list[str]) -> dict[str, Any]:
    """Turn ``["epochs=3", "augment.gain_db=6"]`` into nested settings; values are read as JSON where they are JSON, else as text.

    Raises
    ------
    AudioDataError
        Something is not of the form key=value.
    """
    found: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        *groups, last = key.strip().split(".")
        if not equals or not last:
            raise AudioDataError(f"--set {change}: expected key=value, for instance --set epochs=20")
        table = found
        for group in groups:
            table = table.setdefault(group, {})
        table[last] = _value(value)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def split_settings(given: dict[str, Any], network: type[Settings], training: type[Settings]) -> tuple[Settings, Settings]:
    """Sort settings into those of the network and those of the training, and check them.

    Raises
    ------
    AudioDataError
        An unknown key, with the nearest known one, or a value that does not fit.
    """
    known = [*network.model_fields, *training.model_fields]
    for key in given:
        if key not in known:
            raise AudioDataError(f"--set: unknown key `{key}`{nearest(key, known)}")
    parts = ({key: value for key, value in given.items() if key in model.model_fields} for model in (network, training))
    return tuple(validated(model, part, "--set") for model, part in zip((network, training), parts, strict=True))


def _report(metrics: dict[str, Any], run: Path) -> None:
    out.print(
        f"{metrics['network']} on {metrics['split']}: accuracy {metrics['accuracy']:.3f} of {metrics['examples']} examples "
        f"(chance {metrics['chance']:.3f}), {metrics['parameters']} parameters; see {run / 'metrics.json'}"
    )


def _interrupted(run: Path) -> int:
    out.print(f"interrupted; --resume --out {run} goes on after the last finished epoch", style="bold")
    return 130


if __name__ == "__main__":
    run_door(app)
