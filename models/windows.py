"""How a converted network depends on its time window N_s (Wu et al. 2021, Fig. 6 A and B): how well it does its task, how many operations it takes.

windows.json    a row for each conversion
windows.md      the same as a table
windows.png     the same as a picture
primitive-N/, progressive-N-seed-S/    the runs themselves
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiodata.errors import AudioDataError
from audiodata.settings import nearest
from audiodata.shards import replacing
from models.compare import markdown_table, measured_on, shown
from models.conversions import convert_run, open_ann, tandem_run
from models.evaluation import measured_split
from models.progressive import TandemTraining
from models.runs import write_json
from models.tandem import ConversionConfig

WINDOWS, TABLE, PICTURE = "windows.json", "windows.md", "windows.png"
TIME_STEPS = (1, 2, 4, 8, 16, 32)


def window_sweep(
    run: Path,
    cache: Path,
    out: Path,
    time_steps: Sequence[int] = TIME_STEPS,
    *,
    tune: bool = False,
    seeds: Sequence[int] = (0,),
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Convert a trained network for several time windows, and measure each.

    Parameters
    ----------
    run : Path
        Of an ANN.
    cache : Path
        That it was trained on.
    out : Path
        Folder for a run of each conversion, table and picture.
    time_steps : sequence of int
        N_s.
    tune : bool
        Besides the primitive conversion, train progressively.
    seeds : sequence of int
        Of these trainings; a primitive conversion has nothing random.
    settings : mapping, optional
        Of the conversions and, with `tune`, of the trainings.
    resume : bool
        Go on with the runs in `out`.

    Returns
    -------
    dict
        The content of ``windows.json``: ``cache``, ``split``, ``figure`` and ``label``, the ``ann``'s own and ``rows``, see `row_of`.

    Raises
    ------
    AudioDataError
        No time window, or what `convert_run` and `tandem_run` raise.
    """
    if not time_steps:
        raise AudioDataError("--time-steps: expected at least one number of time steps")
    settings, ann = settings or {}, open_ann(run, cache)
    _check_known(settings, tune)
    name, split, rows = ann.figure.name, measured_split(ann.source), []
    for steps in sorted(set(time_steps)):
        given = {key: value for key, value in settings.items() if key in ConversionConfig.model_fields} | {"time_steps": steps}
        rows.append(row_of("primitive", None, convert_run(run, cache, out / f"primitive-{steps}", given, resume=resume), name))
        for seed in seeds if tune else ():
            given = {**settings, "time_steps": steps, "seed": seed}
            folder = out / f"progressive-{steps}-seed-{seed}"
            rows.append(row_of("progressive", seed, tandem_run(run, cache, folder, given, resume=resume), name))
    about = {"cache": ann.source.identity(), "split": split, "network": ann.record.network, "figure": name, "label": ann.figure.label}
    found = about | {"ann": ann.measured(ann.network, split), "rows": rows}
    write_result(out, found)
    return found


def row_of(method: str, seed: int | None, metrics: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """What the table says of one conversion.

    Returns
    -------
    dict
        ``method``, ``seed``, ``time_steps``, ``value`` (of the figure), and operations beside those of the ANN (`models.accounting`): ``ratio`` of
        all, and ``ratio_without_dense``, of all but the first layer's, which takes real numbers.
    """
    operations = metrics["accounting"]["operations"]
    kept = {name: operations[name] for name in ("ratio", "ratio_without_dense")}
    return {"method": method, "seed": seed, "time_steps": metrics["time_steps"], "value": metrics[figure]} | kept


def means(rows: Sequence[Mapping[str, Any]], method: str) -> list[dict[str, Any]]:
    """Mean over the seeds for each time window, and the standard deviation of ``value`` where there are several."""
    found = []
    for steps in sorted({row["time_steps"] for row in rows if row["method"] == method}):
        same = [row for row in rows if row["method"] == method and row["time_steps"] == steps]
        values = [row["value"] for row in same if row["value"] is not None]
        mean = {name: _mean([row[name] for row in same]) for name in ("value", "ratio", "ratio_without_dense")}
        deviation = statistics.stdev(values) if len(values) > 1 else None
        found.append({"method": method, "time_steps": steps, "runs": len(same)} | mean | {"std": deviation})
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def markdown(found: Mapping[str, Any]) -> str:
    """Table as text, with what it was measured on."""
    columns = ["Method", "Time steps", "Runs", found["label"], "Std", "Operations / ANN's", "without first layer"]
    cells = [["ANN", "-", "1", shown(found["ann"], "{:.4f}"), "-", "1", "1"]]
    for row in [row for method in ("primitive", "progressive") for row in means(found["rows"], method)]:
        figures = [shown(row[name], "{:.4f}") for name in ("value", "std")]
        figures += [shown(row[name], "{:.3f}") for name in ("ratio", "ratio_without_dense")]
        cells.append([row["method"], str(row["time_steps"]), str(row["runs"]), *figures])
    about = f"`{found['network']}` measured on {measured_on(found)}; an addition and a multiplication with addition count as one operation each."
    return "\n".join([about, "", *markdown_table(columns, cells, 1), ""])


def write_result(folder: Path, found: Mapping[str, Any]) -> None:
    """Write ``windows.json``, ``windows.md`` and ``windows.png``."""
    from models.progressive_pictures import window_curves  # matplotlib takes a second to import

    write_json(folder / WINDOWS, dict(found))
    with replacing(folder / TABLE) as temporary:
        temporary.write_text(markdown(found), encoding="utf-8")
    methods = {method: means(found["rows"], method) for method in ("primitive", "progressive")}
    with replacing(folder / PICTURE) as temporary:
        window_curves(found["ann"], methods, found["label"]).savefig(temporary, format="png", dpi=130)


def _check_known(settings: Mapping[str, Any], tune: bool) -> None:
    known = list((TandemTraining if tune else ConversionConfig).model_fields)
    for key in settings:
        if key in ("time_steps", "seed"):
            raise AudioDataError(f"--set {key}: is chosen by --{key.replace('_', '-')}{'s' if key == 'seed' else ''} here")
        if key not in known:
            trained = "" if tune or key not in TandemTraining.model_fields else "; it is a setting of training, add --tune"
            raise AudioDataError(f"--set: unknown key `{key}`{trained or nearest(key, known)}")
