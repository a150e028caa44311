"""``python -m audiodata``: look at caches, check them, draw them; look at catalogs and at this machine."""

from pathlib import Path
from typing import Annotated

import typer

from audiodata.catalog import load_catalog, shipped_catalogs
from audiodata.console import out, print_table, run_door
from audiodata.doctor import examine
from audiodata.progress import Bar
from audiodata.shards import open_cache, verify_cache

app = typer.Typer(
    help="Look at caches, catalogs and this machine.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
CacheArgument = Annotated[Path, typer.Argument(help="Folder of a finished cache.")]


@app.command()
def info(cache: CacheArgument) -> None:
    """Say what a cache holds."""
    manifest = open_cache(cache).manifest
    size = sum(shard["bytes"] for shard in manifest["shards"])
    out.print(f"{cache}: {manifest['catalog']['name']} ({manifest['catalog']['dataset']['name']}), format {manifest['format_version']}")
    out.print(f"fingerprint {manifest['catalog_fingerprint']}")
    out.print(f"{len(manifest['shards'])} shards, {size / 1e6:.1f} MB; classes: {', '.join(manifest['classes'])}")
    rows = ((name, "x".join(str(size or "any") for size in entry["shape"]), " x ".join(entry["axes"]), entry["dtype"], entry["unit"])
            for kind in ("features", "targets") for name, entry in manifest[kind].items())
    print_table("", ("data", "shape", "axes", "dtype", "unit"), rows)
    print_table("", ("split", "examples", "clips", "groups"),
                ((split, entry["examples"], entry["clips"], entry["groups"]) for split, entry in manifest["splits"].items()))
    print_table("", ("status of clips", "count"), manifest["counts"]["status"].items())
    print_table("", ("reason", "count"), ((reason or "-", count) for reason, count in manifest["counts"]["reason"].items()))


@app.command()
def verify(cache: CacheArgument) -> None:
    """Check every byte of a cache against its manifest; exit code 1 and one line per problem if anything differs."""
    with Bar("verify", len(open_cache(cache).manifest["shards"]), "shards") as bar:
        problems = verify_cache(cache, on_shard=lambda _: bar.advance())
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)
    manifest = open_cache(cache).manifest
    out.print(f"{cache}: {len(manifest['shards'])} shards are what the manifest says")


@app.command()
def doctor(
    data: Annotated[str, typer.Option(help="A data root to look at: can it be read, what lies beneath it, who is writing there.")] = "",
    out_folder: Annotated[str, typer.Option("--out", help="A cache, or where one is going to be: can shards be made there, is there room.")] = "",
    scratch: Annotated[str, typer.Option(help="A worker's own folder for shards in the making; default: $AUDIODATA_SCRATCH.")] = "",
) -> None:
    """Say what this machine has and lacks; exit code 1 if something that a user needs is broken."""
    findings = examine(data, out_folder, scratch)
    print_table("", ("what", "state", "detail"), findings)
    raise typer.Exit(int(any(finding.state == "problem" for finding in findings)))


@app.command()
def catalogs() -> None:
    """List the catalogs that come with the project."""
    rows = ((name, load_catalog(path).dataset.name, ", ".join(load_catalog(path).features), load_catalog(path).about.title)
            for name, path in shipped_catalogs().items())
    print_table("", ("catalog", "data set", "features", "title"), rows)


@app.command()
def report(
    cache: CacheArgument,
    out_file: Annotated[Path, typer.Option("--out", help="The HTML file to write.")],
    run: Annotated[Path | None, typer.Option(help="A training run whose curves and metrics are added.")] = None,
) -> None:
    """Draw a cache (and a training on it) as one HTML page."""
    from audiodata.report import write_report  # matplotlib takes a second to import, which the other commands need not wait for

    write_report(cache, out_file, run)
    out.print(f"wrote {out_file}")


if __name__ == "__main__":
    run_door(app)
