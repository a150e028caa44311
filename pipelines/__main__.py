"""``python -m pipelines``: download or simulate clips, build caches, examine workers, run the demo."""

from pathlib import Path
from typing import Annotated, Any

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
from pipelines.crew import TRIES
from pipelines.demo import DEMOS, run_demo
from pipelines.doctor import doctor as examine_workers
from pipelines.doctor import seen_by_workers
from pipelines.runs import running, tell_cluster
from pipelines.site import UnfinishedBuild
from pipelines.slurm import load_slurm
from pipelines.workers import Places, check_elsewhere, places_of

SHOWN = 10
LOST_WORKERS_PER_VIDEO = 5

app = typer.Typer(
    help="Download or simulate clips, build feature caches, run the demo.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

CatalogArgument = Annotated[str, typer.Argument(help="A catalog (TOML file) or the name of one that comes with the project.")]
DataOption = Annotated[Path, typer.Option("--data", help="Data root: the folder that paths in the catalog are relative to.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=0, help="Local processes, one thread each; 0 = this process; default: one per core.")
]
SchedulerOption = Annotated[str | None, typer.Option(help="A Dask scheduler that is already there: its address, or its scheduler file.")]
SlurmOption = Annotated[Path | None, typer.Option(help="TOML file that says what to ask Slurm for; workers are jobs then.")]
WorkerRootOption = Annotated[str | None, typer.Option(help="Where workers see the folder of --data; default: at the same place.")]
WorkerOutOption = Annotated[
    str | None, typer.Option(help="Where workers see the folder of --out; default: at the same place, or with --worker-root if it is below --data.")
]
ScratchOption = Annotated[
    str, typer.Option(help="A worker's own folder for shards in the making, e.g. '$TMPDIR'; default: $AUDIODATA_SCRATCH, else the cache.")
]

LogOption = Annotated[Path | None, typer.Option(help="File that gets a line of JSON for every event of the run; lines of earlier runs stay.")]


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
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    worker_root: WorkerRootOption = None,
    worker_out: WorkerOutOption = None,
    scratch: ScratchOption = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many clips, balanced over the classes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Inspect and plan; make nothing.")] = False,
    log: LogOption = None,
) -> None:
    """Turn checked files into HDF5 shards and a manifest; what is there and unchanged is kept."""
    settings = load_catalog(catalog)
    scratch = scratch or (load_slurm(slurm).scratch if slurm else "")
    remote = scheduler is not None or slurm is not None
    check_elsewhere(remote, worker_root, worker_out)
    places = places_of(data, out_folder, worker_root, worker_out, scratch) if remote else Places(str(data), str(out_folder), scratch)
    with running("build", settings, data, log, worker_root=worker_root, out=out_folder) as journal:
        with connect(workers, scheduler, slurm) as client:
            tell_cluster(client, journal)
            try:
                manifest = build_pipeline.build(settings, data, out_folder, client, limit, _print_plan, dry_run, places, journal)
            except UnfinishedBuild as error:
                _print_unfinished(error)
                raise typer.Exit(1) from None
        raise typer.Exit(_tell_cache(out_folder, manifest))


@app.command()
def download(
    catalog: CatalogArgument,
    data: DataOption,
    limit: Annotated[int | None, typer.Option(min=0, help="Ask for so many clips at most; 0: only take in what is there.")] = None,
    retry: Annotated[list[str] | None, typer.Option(help="Reason, or kind of reason, to try again; repeatable.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be asked for; write nothing.")] = False,
    campaign: Annotated[bool, typer.Option("--plan", help="Say what it will cost: clips, bytes, days, losses; write nothing.")] = False,
    identities: Annotated[int | None, typer.Option(min=1, help="With --plan: network identities that share the work; default: one a proxy.")] = None,
    cookies: Annotated[Path | None, typer.Option(help="Cookie file (Netscape format); it is never written to.")] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="http://host:port; repeatable: each is a network identity with its own pace, 'none' is this machine's address."),
    ] = None,
    url_template: Annotated[str, typer.Option(help="Address of a video, with {id}.")] = YOUTUBE,
    interval: Annotated[float | None, typer.Option(min=0, help="Mean seconds between two videos; default: the catalog's, 12.")] = None,
    existing: Annotated[list[Path] | None, typer.Option(help="Folder with files made by other tools; repeatable.")] = None,
    extractor_args: Annotated[list[str] | None, typer.Option(help="Passed on to yt-dlp, in its notation; repeatable.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Local processes; more than one video at a time only from your own server.")] = 0,
    log: LogOption = None,
) -> None:
    """Fetch the clips that a catalog chooses and that are not there; the ledger below the data root says what became of each."""
    settings, proxies = load_catalog(catalog), proxy or []
    workers = max(workers, len(proxies)) if len(proxies) > 1 else workers
    with running("download", settings, data, log, proxies) as journal, connect(workers, lost_workers=LOST_WORKERS_PER_VIDEO) as client:
        tell_cluster(client, journal)
        code = download_pipeline.download(
            settings, data, limit=limit, retry=retry or (), dry_run=dry_run, identities=(identities or max(len(proxies), 1)) if campaign else None,
            cookies=cookies, proxies=proxies, url_template=url_template,
            interval_s=interval, existing=existing or (), extractor_args=extractor_args or (), client=client, workers=workers,
            journal=journal,
        )
        raise typer.Exit(code)


@app.command()
def simulate(
    catalog: CatalogArgument,
    data: DataOption,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    worker_root: WorkerRootOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many sounds, balanced over the classes.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count; make nothing.")] = False,
    log: LogOption = None,
) -> None:
    """Place the sounds that a catalog names round its microphones; what is there and unchanged is kept. Then build with the same catalog."""
    settings = load_catalog(catalog)
    remote = scheduler is not None or slurm is not None
    check_elsewhere(remote, worker_root)
    with running("simulate", settings, data, log, worker_root=worker_root) as journal, connect(workers, scheduler, slurm) as client:
        tell_cluster(client, journal)
        seen = worker_root or (str(data.absolute()) if remote else None)
        raise typer.Exit(simulate_pipeline.simulate(settings, data, client, limit, dry_run, seen, journal))


@app.command()
def doctor(
    scheduler: SchedulerOption = None,
    slurm: SlurmOption = None,
    data: Annotated[Path | None, typer.Option(help="A data root to look at.")] = None,
    out_folder: Annotated[Path | None, typer.Option("--out", help="A cache to look at.")] = None,
    worker_root: WorkerRootOption = None,
    worker_out: WorkerOutOption = None,
    scratch: ScratchOption = "",
) -> None:
    """Let every worker that is there examine its machine and compare it with this one; exit code 1 if one has a problem."""
    if scheduler is None and slurm is None:
        raise EnvironmentFault("say whose workers: --scheduler or --slurm; this machine alone is examined by: python -m audiodata doctor")
    scratch = scratch or (load_slurm(slurm).scratch if slurm else "")
    places = seen_by_workers(data, out_folder, worker_root, worker_out, scratch)
    with connect(None, scheduler, slurm) as client:
        raise typer.Exit(examine_workers(client, data, out_folder, places))


def _tell_cache(folder: Path, manifest: dict[str, Any] | None) -> int:
    """Say what a build has made; return its exit code."""
    if manifest is None:
        out.print("dry run: nothing was made")
        return 0
    size = sum(shard["bytes"] for shard in manifest["shards"])
    fingerprint = manifest["catalog_fingerprint"][:16]
    out.print(f"cache: {folder}  ({len(manifest['shards'])} shards, {size / 1e6:.1f} MB, fingerprint {fingerprint})")
    return int(manifest["counts"]["status"].get("failed", 0) > 0)


def _print_unfinished(error: UnfinishedBuild) -> None:
    out.print(f"unfinished: {len(error.aside)} set aside after {TRIES} tries each, the rest is done; there is no manifest yet:")
    for name, one in list(error.aside.items())[:SHOWN]:
        out.print(f"  {name}: {one.reason}")
    if len(error.aside) > SHOWN:
        out.print(f"  ... and {len(error.aside) - SHOWN} more")
    out.print("the same command tries them again and keeps what is done")


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
