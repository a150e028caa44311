"""What a finished build says of itself: the manifest's content, and the order in which a cache becomes visible."""

import importlib.metadata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import audiodata
from audiodata.assembly import feature_layouts, target_layouts
from audiodata.build_settings import BuildSettings
from audiodata.features import FEATURES, numeric_versions
from audiodata.planning import BuildPlan
from audiodata.shards import (
    CACHE_FORMAT,
    CACHE_FORMAT_VERSION,
    EXAMPLES_FILE,
    LEDGER_FILE,
    MANIFEST_FILE,
    ShardRecord,
    ledger_counts,
    split_counts,
    write_examples,
    write_ledger,
    write_manifest,
)

EXAMPLE_COLUMNS = [
    "example_id", "clip_id", "group_id", "split", "shard", "row", "start_s", "duration_s", "label", "label_index", "labels",
]
TRUTH_COLUMNS = ("azimuth_deg",)  # where there is such a target
PACKAGES = ("h5py", "hdf5plugin", "pyarrow", "soundfile", "soxr")


def describe(plan: BuildPlan, records: Iterable[ShardRecord]) -> dict[str, Any]:
    """Describe a build, as the manifest does, but for the tables beside it.

    Parameters
    ----------
    plan : BuildPlan
    records : iterable of ShardRecord
        One a shard, in any order.
    """
    settings = plan.settings
    return {
        "format": CACHE_FORMAT,
        "format_version": CACHE_FORMAT_VERSION,
        "catalog": plan.catalog.resolved(),
        "catalog_fingerprint": plan.catalog.fingerprint(),
        "classes": list(settings.classes),
        "audio": _signal(settings),
        "features": {name: layout.record() | {"version": FEATURES[name].version} for name, layout in feature_layouts(settings).items()},
        "targets": {name: layout.record() for name, layout in target_layouts(settings).items()},
        "splits": split_counts(plan.examples, settings.classes),
        "shards": [record._asdict() for record in sorted(records, key=lambda record: record.file)],
        "versions": versions(settings),
        "counts": ledger_counts(plan.ledger),
    }


def _signal(settings: BuildSettings) -> dict[str, Any]:
    found = {"sample_rate": settings.sample_rate, "channels": settings.channels, "segment_samples": settings.length}
    return found | ({"sensors": {sense: list(size) for sense, size in settings.sensors.items()}} if settings.sensors else {})


def versions(settings: BuildSettings) -> dict[str, str]:
    """Versions of everything that shapes a cache's bytes: this package, its numeric ones, decoders and storage."""
    found = {"audiodata": audiodata.__version__} | numeric_versions(settings.fft, settings.features)
    return dict(sorted((found | {name: importlib.metadata.version(name) for name in PACKAGES}).items()))


def finish(folder: Path, plan: BuildPlan, records: list[ShardRecord]) -> dict[str, Any]:
    """Write the tables and, last, the manifest; remove shards that the plan no longer has."""
    wanted = {record.file for record in records}
    for path in folder.glob("*.h5"):
        if path.name not in wanted:
            path.unlink()
    columns = EXAMPLE_COLUMNS + [name for name in TRUTH_COLUMNS if name in plan.settings.targets]
    tables = {
        EXAMPLES_FILE: write_examples(folder / EXAMPLES_FILE, plan.examples[columns]),
        LEDGER_FILE: write_ledger(folder / LEDGER_FILE, plan.ledger),
    }
    manifest = describe(plan, records) | {"tables": tables}
    write_manifest(folder / MANIFEST_FILE, manifest)
    return manifest
