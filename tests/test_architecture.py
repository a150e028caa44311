"""The arrows between rooms: who may import whom, read from the source, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOORS = {"audiodata": {"audiodata"}, "pipelines": {"audiodata", "pipelines"}, "models": {"audiodata", "models"}}
# Rooms in order: each may import only rooms that stand before it. A folder is one room.
ORDER = [
    "errors", "environment", "worker", "lease", "database",
    "reasons", "timing", "geometry", "records", "settings", "compilation", "text_hashes", "fingerprint", "json_columns", "events", "speech_mixing",
    "rooms", "packed", "idx_files", "clip_files", "clips", "splits", "datasets", "images",
    "features", "localization", "ffmpeg", "containers", "decoding", "audio", "cleaning", "event_sources", "sources",
    "shards", "simulation", "noise_bank", "mixing",
    "catalog", "ledger", "findings", "file_stamps", "inspection_keys", "inspection_rows", "shard_memory", "inspections", "verdicts",
    "build_settings", "kinds", "layout", "assembly", "resolved_settings", "shard_inputs", "planning", "manifest", "noise_list", "originals",
    "download_errors", "resolve", "fetch", "download", "existing", "jobs",
    "torch_dataset", "pictures", "spatial_pictures", "event_pictures",
    "page", "spatial_report", "event_report", "tandem_report", "report", "doctor", "console", "progress", "__main__",
]
HEAVY = {"torch", "dask", "librosa", "yt_dlp", "lightning", "matplotlib"}


def python_files():
    return [path for door in DOORS for path in sorted((ROOT / door).rglob("*.py"))]


def library_files():
    return [path for path in python_files() if path.is_relative_to(ROOT / "audiodata")]


def imported(path):
    """Return every module that a file imports, at the top or inside a function, in full."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "audiodata" else None


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_doors_open_one_way(path):
    door = path.relative_to(ROOT).parts[0]
    others = {name.split(".")[0] for name in imported(path)} & set(DOORS)
    assert others <= DOORS[door], f"{path} imports {others - DOORS[door]}"


@pytest.mark.parametrize("path", library_files(), ids=lambda path: path.stem)
def test_rooms_import_only_what_stands_before_them(path):
    parts = path.relative_to(ROOT / "audiodata").parts
    room = parts[0].removesuffix(".py")
    if room == "__init__":
        return
    assert room in ORDER, f"{room} is a new room: give it a place in ORDER"
    allowed = set(ORDER[: ORDER.index(room) + 1]) | {"__version__"}
    used = {room_of(name) for name in imported(path)} - {None}
    assert used <= allowed, f"{path} imports {sorted(used - allowed)}, which stand after {room}"


def test_there_is_no_room_for_odds_and_ends():
    assert not [path for path in python_files() if path.stem in {"utils", "helpers", "misc", "common"}]


@pytest.mark.parametrize(("module", "forbidden"), [
    *((f"audiodata.{room}", HEAVY) for room in ("clips", "features", "shards", "download", "catalog", "jobs")),
    ("models.csnn", {"lightning", "dask"}),
])
def test_imports_are_light(module, forbidden):
    code = f"import sys; import {module}; print(*[name for name in {sorted(forbidden)!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], f"import {module} loads {done.stdout}"


def test_only_one_room_imports_torch():
    users = [path.stem for path in library_files() if "torch" in {name.split(".")[0] for name in imported(path)}]
    assert users == ["torch_dataset"]


def test_the_library_does_not_print():
    calls = [f"{path}:{node.lineno}" for path in python_files() for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"]
    assert calls == []
