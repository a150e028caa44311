"""``python -m pipelines``: download or simulate clips, build caches, run the demo."""

from pathlib import Path
from typing import Annotated

import typer

from audiodata.catalog import load_catalog
from audiodata.console import out, print_table, run_door
from audiodata.errors import EnvironmentFault
from audiodata.planning import BuildPlan, summary
from audiodata.resolve import YOUTUBE
from audiodata.settings import nearest
from pipelines import build as build_pipeline
from pipelines import download as download_pipeline
from pipelines import simulate as simulate_pipeline
from pipelines.cluster import connect
from pipelines.demo import DEMOS, run_demo

app = typer.Typer(
    help="Download or simulate clips, build feature caches, run the demo.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

CatalogArgument = Annotated[str, typer.Argument(help="A catalog (TOML file) or the name of one that comes with the project.")]
DataOption = Annotated[Path, typer.Option("--data", help="Data root: the folder that paths in the catalog are relative to.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Local processes, one thread each; 0 = this process; default: one per core.")
]


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for everything that the demo makes.")],
    kind: Annotated[str, typer.Option(help=f"Which chain: {' or '.join(DEMOS)}.")] = "classes",
    workers: WorkersOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the sounds and of the training.")] = 0,
) -> None:
    """Run the whole chain on sounds made here: build, verify, train, evaluate, report. No network."""
    if kind not in DEMOS:
        raise EnvironmentFault(f"--kind {kind}: unknown{nearest(kind, list(DEMOS))}")
    run_demo(kind, out_folder, workers, seed)


@app.command()
def build(
    catalog: CatalogArgument,
    data: DataOption,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the cache.")],
    workers: WorkersOption = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a Dask scheduler that is already there.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many clips, balanced over the classes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Inspect and plan; make nothing.")] = False,
) -> None:
    """Turn checked files into HDF5 shards and a manifest; what is there and unchanged is kept."""
    if scheduler is not None and workers is not None:
        raise EnvironmentFault("--workers and --scheduler exclude each other: a scheduler brings its own workers")
    settings = load_catalog(catalog)
    with connect(workers, scheduler) as client:
        manifest = build_pipeline.build(settings, data, out_folder, client, limit, _print_plan, dry_run)
    if manifest is None:
        out.print("dry run: nothing was made")
        return
    size = sum(shard["bytes"] for shard in manifest["shards"])
    fingerprint = manifest["catalog_fingerprint"][:16]
    out.print(f"cache: {out_folder}  ({len(manifest['shards'])} shards, {size / 1e6:.1f} MB, fingerprint {fingerprint})")
    raise typer.Exit(int(manifest["counts"]["status"].get("failed", 0) > 0))


@app.command()
def download(
    catalog: CatalogArgument,
    data: DataOption,
    limit: Annotated[int | None, typer.Option(min=0, help="Ask for so many clips at most; 0: only take in what is there.")] = None,
    retry: Annotated[list[str] | None, typer.Option(help="Reason, or kind of reason, to try again; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked for; write nothing.")] = False,
    cookies: Annotated[Path | None, typer.Option(help="Cookie file (Netscape format); it is never written to.")] = None,
    proxy: Annotated[str | None, typer.Option(help="http://host:port")] = None,
    url_template: Annotated[str, typer.Option(help="Address of a video, with {id}.")] = YOUTUBE,
    interval: Annotated[float | None, typer.Option(min=0, help="Mean seconds between two videos; default: the catalog's, 12.")] = None,
    existing: Annotated[list[Path] | None, typer.Option(help="Folder with files made by other tools; repeatable.")] = None,
    extractor_args: Annotated[list[str] | None, typer.Option(help="Passed on to yt-dlp, in its notation; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Local processes; more than one video at a time only from your own server.")] = 0,
) -> None:
    """Fetch the clips that a catalog chooses and that are not there; the ledger below the data root says what became of each."""
    settings = load_catalog(catalog)
    with connect(workers) as client:
        code = download_pipeline.download(
            settings, data, limit=limit, retry=retry or (), dry_run=dry_run, cookies=cookies, proxy=proxy, url_template=url_template,
            interval_s=interval, existing=existing or (), extractor_args=extractor_args or (), client=client, workers=workers,
        )
    raise typer.Exit(code)


@app.command()
def simulate(
    catalog: CatalogArgument,
    data: DataOption,
    workers: WorkersOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many sounds, balanced over the classes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count; make nothing.")] = False,
) -> None:
    """Place the sounds that a catalog names round its microphones; what is there and unchanged is kept. Then build with the same catalog."""
    settings = load_catalog(catalog)
    with connect(workers) as client:
        raise typer.Exit(simulate_pipeline.simulate(settings, data, client, limit, dry_run))


def _print_plan(planned: BuildPlan) -> None:
    counts = planned.examples.groupby(["label", "split"]).size().unstack(fill_value=0)
    print_table("examples", ["class", *counts.columns], ([label, *row] for label, row in zip(counts.index, counts.to_numpy(), strict=True)))
    out.print(f"clips: {summary(planned.ledger)}")
    bad = planned.ledger[planned.ledger["status"].isin(["failed", "rejected"])]
    for row in bad.head(10).itertuples():
        out.print(f"  {row.status} {row.clip_id}: {row.reason}: {row.detail}")
    if len(bad) > 10:
        out.print(f"  ... and {len(bad) - 10} more; ledger.parquet in the cache has them all")


if __name__ == "__main__":
    run_door(app)
