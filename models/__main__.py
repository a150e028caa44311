"""The door to the networks: train and measure them, make spiking networks of them, export them, separate sounds."""

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
    found = [_classes(metrics), _directions(metrics.get("doa")), _reconstructed(metrics), _separated(metrics), f"{metrics['parameters']} parameters"]
    folded = " folded" if metrics["folded"] else ""
    out.print(f"{metrics['network']}{folded} on {metrics['split']}: {', '.join(part for part in found if part)}; see {run / 'metrics.json'}")


def _classes(metrics: dict[str, Any]) -> str:
    if metrics.get("accuracy") is None:
        return ""
    return f"accuracy {metrics['accuracy']:.3f} of {metrics['examples']} examples (chance {metrics['chance']:.3f})"


def _directions(doa: dict[str, Any] | None) -> str:
    if doa is None:
        return ""
    within = ", ".join(f"{100 * share:.1f} % within {tolerance}" for tolerance, share in doa["accuracy"].items())
    return f"direction off by {doa['mae_deg']:.2f} degrees on average over {doa['examples']} examples ({within})"


def _reconstructed(metrics: dict[str, Any]) -> str:
    if "mse" not in metrics:
        return ""
    return f"MSE {metrics['mse']:.5f} over {metrics['examples']} examples ({metrics['mse_of_mean']:.5f} for their mean)"


def _separated(metrics: dict[str, Any]) -> str:
    if metrics.get("si_sdr") is None:
        return ""
    return f"SI-SDR {metrics['si_sdr']:.2f} dB, {metrics['si_sdr_improvement']:.2f} dB above the mixture's, over {metrics['examples']} examples"


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


@app.command()
def convert(
    run: Annotated[Path, typer.Argument(help="Folder that `train` wrote, of a network without spikes.")],
    cache: CachePath,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the new run.")],
    changes: Changes = None,
) -> None:
    """Convert a trained network to a spiking one without any training, and measure it."""
    conversions = importlib.import_module("models.conversions")
    _report(conversions.convert_run(run, cache, folder, _given(changes, None, None)), folder)


@app.command()
def tandem(
    run: Annotated[Path, typer.Argument(help="Folder that `train` wrote, of a network without spikes.")],
    cache: CachePath,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the new run.")],
    epochs: Annotated[int | None, typer.Option(min=1, help="Of all layers together, at most.")] = None,
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, if there is one.")] = False,
    changes: Changes = None,
) -> None:
    """Convert a trained network to a spiking one layer by layer, training it on the way, and measure it."""
    conversions = importlib.import_module("models.conversions")
    try:
        metrics = conversions.tandem_run(run, cache, folder, _given(changes, epochs, seed), resume=resume)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(folder)) from None
    _report(metrics, folder)
    out.print(_sides(metrics["tandem"]))


@app.command()
def windows(
    run: Annotated[Path, typer.Argument(help="Folder that `train` wrote, of a network without spikes.")],
    cache: CachePath,
    folder: Annotated[Path, typer.Option("--out", help="Folder for a run of each conversion, the table and the picture.")],
    time_steps: Annotated[list[int], typer.Option(min=1, help="Length of the time window; may be given several times.")] = [1, 2, 4, 8, 16, 32],  # noqa: B006
    tune: Annotated[bool, typer.Option("--tune", help="Besides the plain conversion, train layer by layer as `tandem` does.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="How many, of these trainings.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first of them.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of all layers of one training together, at most.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the runs in --out.")] = False,
    changes: Changes = None,
) -> None:
    """Convert a trained network for several time windows: how good it is, and what it costs."""
    sweeping = importlib.import_module("models.windows")
    chosen = {"tune": tune, "seeds": range(seed, seed + seeds), "settings": _given(changes, epochs, None), "resume": resume}
    try:
        found = sweeping.window_sweep(run, cache, folder, time_steps, **chosen)
    except KeyboardInterrupt:
        raise typer.Exit(_interrupted(folder)) from None
    out.print(f"{sweeping.markdown(found)}see {folder / sweeping.PICTURE}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder that `convert`, `tandem` or `train` wrote, of a spiking network.")],
    path: Annotated[Path, typer.Option("--out", help="The file to write, NAME.nir.")],
    check: Annotated[bool, typer.Option(help="Read the file back and simulate it beside the network.")] = True,
) -> None:
    """Write a spiking network as a NIR graph, which other frameworks and neuromorphic hardware read."""
    exporting = importlib.import_module("models.nir_export")
    found = exporting.export_run(run, path, check=check)
    checked = f"; read back and simulated, {found.differing} of {found.spikes} spikes differ" if check else ""
    out.print(f"{found.path}: {len(found.nodes)} nodes, {found.time_steps} time steps{checked}")


@app.command()
def separate(
    run: Annotated[Path, typer.Argument(help="Folder that `train`, `convert` or `tandem` wrote, of a separating network.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Sounds of any length and sample rate.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for NAME-1.flac, NAME-2.flac, ... and NAME.png.")],
    segment: Annotated[float | None, typer.Option(help="Length of the overlapping segments that long sounds are separated in, seconds.")] = None,
    clean: Annotated[list[Path] | None, typer.Option(help="A clean source of the only file; give it once for each source.")] = None,
) -> None:
    """Separate the speakers of sound files."""
    separating = importlib.import_module("models.separating")
    for found in separating.separate_files(run, files, folder, segment, clean or ()):
        gained = "".join(f", {one:+.1f} dB" for one in found.si_sdr_improvement)
        out.print(f"{found.file}: {', '.join(map(str, found.outputs))}; {found.picture}{gained and f'; SI-SDR improvement{gained[1:]}'}")


def _sides(found: dict[str, Any]) -> str:
    closed = "" if found["gap_closed"] is None else f"; {100 * found['gap_closed']:.0f} % of the gap closed"
    return ", ".join(f"{name} {found[name]:.4f}" for name in ("ann", "primitive", "progressive")) + f" ({found['figure']}{closed})"


if __name__ == "__main__":
    run_door(app)
