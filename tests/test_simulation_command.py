"""``python -m pipelines simulate``: the same files whoever makes them, however often it is killed; and what is made of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from made_scenes import band_limited_noise, write_sofa

from audiodata.catalog import load_catalog
from audiodata.datasets import read_clips
from audiodata.errors import AudioDataError
from audiodata.shards import open_cache
from pipelines import simulate as simulation
from pipelines.build import build
from pipelines.cluster import connect

ROOT = Path(__file__).resolve().parents[1]
RATE, SOUNDS = 8000, 5
CATALOG = """
[dataset]
name = "simulated_array"
azimuth_step_deg = 45
per_sound = 3
snr_db = 20.0
{more}
[array]
positions_m = [[0.05, 0.05, 0], [-0.05, 0.05, 0], [-0.05, -0.05, 0], [0.05, -0.05, 0]]
[split]
scheme = "stratified"
fractions = {{ train = 0.6, val = 0.2, test = 0.2 }}
[audio]
sample_rate = 8000
channels = 4
[segment]
length_s = 0.5
[features.log_mel]
window_length = 256
hop_length = 128
n_mels = 20
"""


@pytest.fixture
def root(tmp_path):
    for first_seed, label in ((0, "dog"), (100, "rain")):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for number in range(SOUNDS):
            sf.write(tmp_path / "sounds" / label / f"{number}.wav", band_limited_noise(4000, first_seed + number), RATE)
    return tmp_path


def catalog_of(root, more="", text=CATALOG):
    (root / "c.toml").write_text(text.format(more=more))
    return load_catalog(root / "c.toml")


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(*words):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return [sys.executable, "-m", "pipelines", *map(str, words)], {"cwd": ROOT, "env": environment, "text": True}


def test_files_are_made_listed_and_kept(root, capsys):
    catalog = catalog_of(root)
    assert simulation.simulate(catalog, root) == 0
    assert "30 made, 0 kept, 0 failed" in capsys.readouterr().out
    table = pd.read_csv(root / "simulated" / "files.csv")
    assert len(table) == 2 * SOUNDS * 3 and (table["status"] == "ok").all()
    assert sorted(table["path"]) == sorted(path.relative_to(root).as_posix() for path in root.rglob("simulated/*/*/*.wav"))
    assert (table["azimuth_deg"] == table["path"].str.split("/").str[2].astype(float)).all()
    assert table.groupby("source_id")["group_id"].nunique().eq(1).all()
    scene = json.loads((root / "simulated" / "scene.json").read_text())
    assert scene["scene"]["distance_m"] == 1.5 and str(root) not in json.dumps(scene)
    before = contents(root / "simulated")
    assert simulation.simulate(catalog, root) == 0
    assert "0 made, 30 kept, 0 failed" in capsys.readouterr().out
    assert contents(root / "simulated") == before


def test_the_same_bytes_with_any_number_of_workers(root):
    pytest.importorskip("distributed", reason="Dask is not installed (extra `dask`)")
    catalog = catalog_of(root)
    made = []
    for workers in (0, 1, 2):
        with connect(workers) as client:
            assert simulation.simulate(catalog, root, client) == 0
        made.append(contents(root / "simulated"))
        shutil.rmtree(root / "simulated")
    assert made[0] == made[1] == made[2]


def test_a_run_that_is_killed_continues(root):
    catalog_of(root, "seed = 1")
    simulation.simulate(load_catalog(root / "c.toml"), root)
    whole = contents(root / "simulated")
    shutil.rmtree(root / "simulated")
    words, options = command("simulate", root / "c.toml", "--data", root, "--workers", 0)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    while process.poll() is None and len(list(root.rglob("simulated/*/*/*.wav"))) < 4:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (root / "simulated" / "dog" / "0").mkdir(parents=True, exist_ok=True)
    (root / "simulated" / "dog" / "0" / ".x.wav.1-1.part").touch()  # what a killed writer leaves
    partial = contents(root / "simulated")
    assert all(content == whole[name] for name, content in partial.items() if not name.endswith(".part"))
    assert subprocess.run(words, capture_output=True, check=False, **options).returncode == 0
    assert contents(root / "simulated") == whole


def test_a_sound_of_no_use_is_told_and_the_others_are_made(root):
    (root / "sounds" / "dog" / "0.wav").write_bytes(b"no sound at all")
    catalog_of(root)
    words, options = command("simulate", root / "c.toml", "--data", root, "--workers", 0)
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 1, done.stderr
    assert "27 made, 0 kept, 3 failed" in done.stdout
    assert "failed dog/0.wav@" in done.stdout and "undecodable: sounds/dog/0.wav" in done.stdout
    table = pd.read_csv(root / "simulated" / "files.csv")
    assert table["reason"].value_counts().to_dict() == {"undecodable": 3}


@pytest.mark.parametrize(
    ("more", "text", "message"),
    [
        ("azimuths = [1]", CATALOG, "unknown key `azimuths`"),
        ("", CATALOG.replace("[0.05, -0.05, 0]]", "[0.05, 0.05, 0]]"), "no two of them equal"),
        ("", CATALOG.replace("positions_m", "# positions_m"), "at least two microphones; give their places by `positions_m`"),
        ("distance_m = 0.1", CATALOG, "`distance_m` = 0.1 is not outside the array, which reaches 0.07"),
        ('responses = { path = "none.sofa" }', CATALOG, "none.sofa: no such file"),
        ("room = { size_m = [3, 3, 3], array_m = [1, 1, 1], rt60_s = 0.3 }", CATALOG, "not inside the room of 3.00 x 3.00"),
        ("", CATALOG.replace("simulated_array", "folder").replace("azimuth_step_deg = 45\nper_sound = 3\nsnr_db = 20.0", ""), "takes a catalog of"),
        ('sounds_folder = "elsewhere"', CATALOG, "elsewhere: can't be listed"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_made(root, more, text, message):
    with pytest.raises(AudioDataError, match=message) as caught:
        simulation.simulate(catalog_of(root, more, text), root)
    assert "\n" not in str(caught.value)
    assert not (root / "simulated").exists()


def test_the_command_explains_in_one_line(root):
    (root / "c.toml").write_text(CATALOG.format(more="elevation_deg = 400"))
    words, options = command("simulate", root / "c.toml", "--data", root, "--workers", 0)
    done = subprocess.run(words, capture_output=True, check=False, **options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "`elevation_deg` = 400" in done.stderr


def test_a_direction_that_was_not_measured_is_refused(root):
    taps = np.zeros((2, 4, 8))
    taps[:, :, 0] = 1
    write_sofa(root / "two.sofa", taps, [[0, 0, 1], [180, 0, 1]])
    with pytest.raises(AudioDataError, match=r"two.sofa: nothing was measured within 1 degrees of azimuth 45, elevation 0; the nearest .* 0.0/0.0"):
        simulation.simulate(catalog_of(root, 'responses = { path = "two.sofa" }'), root)
    fine = catalog_of(root, 'responses = { path = "two.sofa", tolerance_deg = 90 }')
    assert simulation.simulate(fine, root) == 0


def test_a_limit_is_balanced_and_a_dry_run_makes_nothing(root, capsys):
    catalog = catalog_of(root)
    assert simulation.simulate(catalog, root, limit=4, dry_run=True) == 0
    assert not (root / "simulated").exists()
    assert simulation.simulate(catalog, root, limit=4) == 0
    table = pd.read_csv(root / "simulated" / "files.csv")
    assert table.groupby("label")["source_id"].nunique().to_dict() == {"dog": 2, "rain": 2}
    assert simulation.simulate(catalog, root) == 0
    assert "18 made, 12 kept" in capsys.readouterr().out


def test_only_so_many_of_each_class(root):
    catalog = catalog_of(root, text=CATALOG + "[select]\nper_class = 4\n")
    assert simulation.simulate(catalog, root) == 0
    assert pd.read_csv(root / "simulated" / "files.csv")["label"].value_counts().to_dict() == {"dog": 4, "rain": 4}


def test_files_of_other_settings_are_told(root, capsys):
    simulation.simulate(catalog_of(root), root)
    capsys.readouterr()
    simulation.simulate(catalog_of(root, "azimuths_deg = [7.5]", CATALOG.replace("azimuth_step_deg = 45", "")), root)
    assert "note: 30 more sound files lie there, which this catalog does not name" in capsys.readouterr().out


def test_what_is_made_is_built_and_read_as_sloclas(root):
    catalog = catalog_of(root)
    simulation.simulate(catalog, root)
    manifest = build(catalog, root, root / "cache")
    assert manifest["counts"]["status"] == {"ok": 30}
    cache = open_cache(root / "cache")
    table = pd.read_csv(root / "simulated" / "files.csv").set_index("clip_id")
    examples = cache.examples.set_index("clip_id")
    assert (examples["azimuth_deg"] == table.loc[examples.index, "azimuth_deg"]).all()
    assert examples.groupby("group_id")["split"].nunique().max() == 1
    assert cache.read(cache.examples["example_id"].iloc[0])["log_mel"].shape[0] == 4
    as_sloclas = read_clips({"name": "sloclas", "path": "simulated"}, root).set_index("path")
    ours = read_clips(catalog.dataset, root).set_index("path")
    assert sorted(as_sloclas.index) == sorted(ours.index)
    assert (as_sloclas["azimuth_deg"] == ours.loc[as_sloclas.index, "azimuth_deg"]).all()
    assert (as_sloclas["label"] == ours.loc[as_sloclas.index, "label"]).all()
    assert as_sloclas["group_id"].nunique() == ours["group_id"].nunique()  # a file's id is its sound's
