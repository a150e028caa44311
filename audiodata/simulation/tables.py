"""What stands beside the files: the scene they were made in, and a table of what each of them is."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audiodata.fingerprint import hash_json
from audiodata.shards.atomic import replacing
from audiodata.simulation.files import RENDERING_VERSION, FileSettings, SimulatedFile
from audiodata.simulation.scene import Scene

if TYPE_CHECKING:  # workers import this package too, and have no use for tables
    import pandas as pd

SCENE_FILE = "scene.json"
TABLE_FILE = "files.csv"
COLUMNS = (
    *("path", "clip_id", "source_id", "source_path", "recording_id", "group_id", "label", "azimuth_deg", "distance_m"),
    *("duration_s", "sample_rate", "gain", "fingerprint", "status", "reason", "detail"),
)
_OF_A_FILE = ("reason", "detail", "fingerprint", "distance_m", "gain", "sample_rate", "duration_s")


def describe(scene: Scene, settings: FileSettings) -> dict[str, Any]:
    """All that the files' bytes depend on besides the sounds: scene, settings, version of the code and of the packages.

    Parameters
    ----------
    scene : Scene
    settings : FileSettings

    Returns
    -------
    dict
        For JSON; no path of this machine is in it.
    """
    packages = ("numpy", "scipy", "soxr", *(("pyroomacoustics",) if scene.room is not None else ()))
    return {
        "format": "audiodata-scene",
        "rendering_version": RENDERING_VERSION,
        "scene": scene.model_dump(mode="json"),
        "files": settings.model_dump(mode="json"),
        "versions": {name: version(name) for name in packages},
    }


def table_of_files(table: "pd.DataFrame", rows: dict[str, SimulatedFile]) -> "pd.DataFrame":
    """Make the table of the files.

    Parameters
    ----------
    table : DataFrame
        Of `audiodata.datasets.simulated_array.placed_clips`, the clips that were asked for, with ``source_path``.
    rows : dict of str to SimulatedFile
        By clip id.

    Returns
    -------
    DataFrame
        `COLUMNS`, in the order of `table`: a table for people and other programs, the same whoever made the files.
    """
    found = [rows[clip_id] for clip_id in table["clip_id"]]
    made = {name: [getattr(row, name) for row in found] for name in _OF_A_FILE}
    described = table.assign(**made, status=["failed" if row.reason else "ok" for row in found])
    return described.reset_index(drop=True)[list(COLUMNS)]


def make_ready(folder: Path, described: dict[str, Any]) -> None:
    """Make the folder; take away what interrupted runs left, and table and scene of other files than those about to be made.

    Parameters
    ----------
    folder : Path
    described : dict
        Of `describe`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.rglob(".*.wav.*.part"):
        left.unlink(missing_ok=True)
    if _read(folder / SCENE_FILE) != described | {"fingerprint": hash_json(described)}:
        for name in (TABLE_FILE, SCENE_FILE):
            (folder / name).unlink(missing_ok=True)


def write(folder: Path, described: dict[str, Any], files: "pd.DataFrame") -> None:
    """Write scene and table, each whole or not at all.

    Parameters
    ----------
    folder : Path
    described : dict
        Of `describe`.
    files : DataFrame
        Of `table_of_files`.
    """
    with replacing(folder / SCENE_FILE) as temporary:
        text = json.dumps(described | {"fingerprint": hash_json(described)}, indent=1, sort_keys=True)
        temporary.write_text(text + "\n", encoding="utf-8")
    with replacing(folder / TABLE_FILE) as temporary:
        files.to_csv(temporary, index=False, lineterminator="\n")


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def strangers(folder: Path, wanted: set[str]) -> list[str]:
    """List sound files in the folder that are none of those wanted: of other settings, or of nobody known.

    Parameters
    ----------
    folder : Path
    wanted : set of str
        Paths relative to `folder`.
    """
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*.wav") if not path.name.startswith("."))
    return sorted(set(found) - wanted)
