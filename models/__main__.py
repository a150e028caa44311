"""The door to the networks: list, train, evaluate, compare, repeat, robustness, degrade."""

import importlib
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from audiodata.console import out, print_table, run_door
from models import MODELS, PRESETS

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


Changes = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the network or the training.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="How often all training examples are seen, at most.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of everything random.")]
CachePath = Annotated[Path, typer.Option(help="What a build wrote.")]


@app.command("list")
def list_models() -> None:
    """Show the networks that can be trained, and their presets."""
    rows = [(name, model.task, model.kind, model.twin or "-", model.summary) for name, model in MODELS.items()]
    print_table("networks", ("name", "task", "kind", "twin", "what it is"), rows)
    settings = {name: ", ".join(f"{key}={value}" for key, value in preset.settings.items()) for name, preset in PRESETS.items()}
    print_table("presets", ("name", "network", "settings"), [(name, preset.network, settings[name]) for name, preset in PRESETS.items()])


@app.command()
def train(
    name: Annotated[str, typer.Argument(help="A network or a preset that `list` shows.")],
    cache: CachePath,
    run: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    epochs: Epochs = None,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
    changes: Changes = None,
) -> None:
    """Train a network on a cache and measure it on the test split."""
    choices = importlib.import_module("models.choices")
    choice = choices.choose(name)
    settings, training = choices.settings_for(choice, _given(changes, epochs, seed), cache)
    page = importlib.import_module(MODELS[choice.network].page)
    try:
        metrics = page.train(choice.network, cache, run, settings, training, resume=resume)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(run)) from None
    _report(metrics, run)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder that `train` wrote.")],
    cache: CachePath,
    split: Annotated[str, typer.Option(help="One of the cache's splits.")] = "test",
    fold: Annotated[bool, typer.Option("--fold", help="Measure the network with its normalisations folded into its weights.")] = False,
) -> None:
    """Measure a trained network on one split of a cache."""
    evaluation = importlib.import_module("models.evaluation")
    _report(evaluation.evaluate_run(run, cache, split, fold=fold), run)


@app.command()
def compare(
    names: Annotated[list[str], typer.Argument(help="Networks or presets that `list` shows.")],
    cache: CachePath,
    folder: Annotated[Path, typer.Option("--out", help="Folder with a run for each, and the table.")],
    epochs: Epochs = None,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out; what has ended is measured again, not trained.")] = False,
    changes: Changes = None,
) -> None:
    """Train several networks on one cache and measure them side by side.

    A setting goes to those of the networks that know it.
    """
    comparing = importlib.import_module("models.compare")
    try:
        found = comparing.compare(names, cache, folder, _given(changes, epochs, seed), resume=resume)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(folder)) from None
    out.print(f"{comparing.markdown(found)}see {folder / comparing.TABLE}")


@app.command()
def repeat(
    names: Annotated[list[str], typer.Argument(help="Networks or presets that `list` shows.")],
    cache: CachePath,
    folder: Annotated[Path, typer.Option("--out", help="Folder with a run for each network and seed, the table and the curves.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many.")] = 5,
    seed: Annotated[int | None, typer.Option(min=0, help="The first of them.")] = None,
    epochs: Epochs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out; what has ended is measured again, not trained.")] = False,
    changes: Changes = None,
) -> None:
    """Train networks with several seeds on one cache: mean, standard deviation and best of each, and curves.

    A setting goes to those of the networks that know it.
    """
    repeating = importlib.import_module("models.repeat")
    try:
        found = repeating.repeat(names, cache, folder, _given(changes, epochs, seed), seeds, resume=resume)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(folder)) from None
    out.print(f"{repeating.markdown(found)}see {folder / repeating.REPEATS}")


def _given(changes: list[str] | None, epochs: int | None, seed: int | None) -> dict[str, Any]:
    choices = importlib.import_module("models.choices")
    return choices.parse_changes(changes or []) | {key: value for key, value in (("epochs", epochs), ("seed", seed)) if value is not None}


def _report(metrics: dict[str, Any], run: Path) -> None:
    found = [_classes(metrics), _directions(metrics.get("doa")), f"{metrics['parameters']} parameters"]
    folded = " folded" if metrics["folded"] else ""
    out.print(f"{metrics['network']}{folded} on {metrics['split']}: {', '.join(part for part in found if part)}; see {run / 'metrics.json'}")


def _classes(metrics: dict[str, Any]) -> str:
    if metrics["accuracy"] is None:
        return ""
    return f"accuracy {metrics['accuracy']:.3f} of {metrics['examples']} examples (chance {metrics['chance']:.3f})"


def _directions(doa: dict[str, Any] | None) -> str:
    if doa is None:
        return ""
    within = ", ".join(f"{100 * share:.1f} % within {tolerance}" for tolerance, share in doa["accuracy"].items())
    return f"direction off by {doa['mae_deg']:.2f} degrees on average over {doa['examples']} examples ({within})"


def _interrupted(run: Path) -> int:
    out.print(f"interrupted; --resume --out {run} goes on after the last finished epoch", style="bold")
    return 130


@app.command()
def robustness(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `train` or `compare` wrote.")],
    cache: CachePath,
    data: Annotated[Path, typer.Option(help="The data root that the cache was built from.")],
    noise: Annotated[str, typer.Option(help="white, diffuse, directional, a folder of recordings, or a label of the data set's noises (noise:).")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for robustness.json and robustness.png.")],
    snr: Annotated[list[float], typer.Option(help="Signal-to-noise ratio in dB; may be given several times.")] = [20.0, 15.0, 10.0, 5.0, 0.0],  # noqa: B006
    noise_azimuth: Annotated[float | None, typer.Option(help="Where noise comes from, degrees; default: another direction than the sound's.")] = None,
    slope: Annotated[float, typer.Option(help="Colour of made noise in dB per octave: 0 white, -3 pink.")] = 0.0,
    split: Annotated[str, typer.Option(help="One of the cache's splits.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="So many examples at most.")] = None,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
) -> None:
    """Measure trained networks with noise mixed into the recordings."""
    measuring = importlib.import_module("models.robustness")
    settings = {"azimuth_deg": noise_azimuth, "slope_db_per_octave": slope, "seed": seed}
    found = measuring.measure_robustness(runs, cache, data, noise, snr, split, limit, **settings)
    measuring.write_result(folder, found)
    print_table(f"{noise} noise, {found['examples']} examples of {split}", measuring.table_columns(found), measuring.table_rows(found))
    out.print(f"see {folder / measuring.PICTURE}")


@app.command()
def degrade(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `train`, `compare` or `repeat` wrote.")],
    cache: CachePath,
    data: Annotated[Path, typer.Option(help="The data root that the cache was built from.")],
    sense: Annotated[Literal["visual", "auditory"], typer.Option(help="Whose events are degraded.")],
    how: Annotated[Literal["drop", "noise", "jitter", "silence"], typer.Option(help="Events lost, noise events added, times shaken, no events.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for degradation.json and degradation.png.")],
    amount: Annotated[
        list[float] | None, typer.Option(help="Share to drop, noise events per second and address, or deviation of the times in us; several times.")
    ] = None,
    split: Annotated[str, typer.Option(help="One of the cache's splits.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="So many examples at most.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
) -> None:
    """Measure trained networks with the events of one sense degraded."""
    measuring = importlib.import_module("models.degrade")
    found = measuring.measure_degradation(runs, cache, data, sense, how, amount or (), split, limit, seed)
    measuring.write_result(folder, found)
    print_table(f"{sense} events, {found['examples']} examples of {split}", measuring.table_columns(found), measuring.table_rows(found))
    out.print(f"see {folder / measuring.PICTURE}")


if __name__ == "__main__":
    run_door(app)
