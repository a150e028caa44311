"""Networks under noise: without noise the figures are those of `evaluate`, with much of it they follow the noise."""

import json

import numpy as np
import pytest
import soundfile as sf
from array_sounds import SAMPLE_RATE, UNEVEN, heard
from located_caches import build_located, write_recordings
from typer.testing import CliRunner

from audiodata.errors import AudioDataError
from audiodata.geometry import circular_error_deg
from models.__main__ import app
from models.robustness import measure_robustness, table_columns, table_rows, write_result

AZIMUTHS = (30, 120, 210, 300)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Data root, cache, a run that finds directions without training, and a run that tells classes apart."""
    folder = tmp_path_factory.mktemp("located")
    write_recordings(folder, AZIMUTHS)
    cache = build_located(folder, folder / "cache")
    for network, changes in (("srp_phat", []), ("mlp", ["--epochs", "2", "--set", "augment.on=false"])):
        done = CliRunner().invoke(app, ["train", network, "--cache", str(cache), "--out", str(folder / network), *changes])
        assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    return folder


def measured(made, noise, snrs=(-20.0,), runs=("srp_phat",), **further):
    return measure_robustness([made / run for run in runs], made / "cache", made, noise, snrs, **further)


def results(found, network=0):
    return {result["snr_db"]: result for result in found["networks"][network]["results"]}


def test_without_noise_the_figures_are_those_of_evaluate(made):
    found = measured(made, "white", (0.0,), ("srp_phat", "mlp"))
    directions = json.loads((made / "srp_phat" / "metrics.json").read_text())
    classes = json.loads((made / "mlp" / "metrics.json").read_text())
    assert found["examples"] == directions["examples"] == 8
    clean = results(found)[None]
    assert clean["mae_deg"] == directions["doa"]["mae_deg"]
    assert clean["doa_accuracy"] == directions["doa"]["accuracy"]
    assert clean["accuracy"] is None
    assert results(found, 1)[None]["accuracy"] == classes["accuracy"]
    assert results(found, 1)[None]["mae_deg"] is None


@pytest.mark.parametrize("noise_deg", [80.0, 260.0])
def test_much_noise_from_one_direction_is_what_is_found(made, noise_deg):
    found = results(measured(made, "directional", (-30.0, 30.0), azimuth_deg=noise_deg))
    expected = np.mean([circular_error_deg(azimuth, noise_deg) for azimuth in AZIMUTHS])
    assert found[-30.0]["mae_deg"] == pytest.approx(expected, abs=3.0)
    assert found[30.0]["mae_deg"] < 5.0


def test_noise_comes_from_another_direction_than_the_sound(made):
    found = results(measured(made, "directional", (-30.0,), min_distance_deg=150.0))
    assert found[-30.0]["mae_deg"] > 147.0


def test_errors_grow_with_the_noise(made):
    found = results(measured(made, "diffuse", (-25.0, 40.0)))
    assert found[40.0]["mae_deg"] == pytest.approx(found[None]["mae_deg"], abs=2.0)
    assert found[-25.0]["mae_deg"] > found[40.0]["mae_deg"] + 20.0


def test_recorded_noise_is_taken_as_it_is_and_one_channel_is_placed(made, tmp_path):
    array, mono = tmp_path / "array", tmp_path / "mono"
    sound = np.random.default_rng(5).standard_normal(2 * SAMPLE_RATE)
    for folder, waveform in ((array, heard(sound, UNEVEN, 80.0)), (mono, sound[np.newaxis])):
        folder.mkdir()
        sf.write(folder / "noise.wav", 0.1 * waveform.T, SAMPLE_RATE, subtype="FLOAT")
    expected = np.mean([circular_error_deg(azimuth, 80.0) for azimuth in AZIMUTHS])
    recorded, placed = measured(made, str(array), (-30.0,)), measured(made, str(mono), (-30.0,), azimuth_deg=80.0)
    assert recorded["noise"]["kind"] == "recorded"
    assert placed["noise"]["kind"] == "directional"
    for found in (recorded, placed):
        assert results(found)[-30.0]["mae_deg"] == pytest.approx(expected, abs=3.0)


def test_noises_of_the_data_set_are_found_by_their_label(made):
    noises = made / "recordings" / "wind" / "80"
    noises.mkdir(parents=True)
    waveform = heard(np.random.default_rng(6).standard_normal(SAMPLE_RATE), UNEVEN, 80.0)
    sf.write(noises / "1.wav", 0.1 * waveform.T, SAMPLE_RATE, subtype="FLOAT")
    expected = np.mean([circular_error_deg(azimuth, 80.0) for azimuth in AZIMUTHS])
    assert results(measured(made, "noise:wind", (-30.0,)))[-30.0]["mae_deg"] == pytest.approx(expected, abs=3.0)


def test_the_same_command_gives_the_same_figures(made):
    first = measured(made, "white", (0.0, -5.0), limit=5, seed=3)
    assert first == measured(made, "white", (-5.0, 0.0), limit=5, seed=3)
    assert first["examples"] == 5
    assert first["snr_db"] == [None, 0.0, -5.0]


def test_command_writes_figures_and_a_picture(made, tmp_path):
    words = ["robustness", str(made / "srp_phat"), str(made / "mlp"), "--cache", str(made / "cache"), "--data", str(made)]
    done = CliRunner().invoke(app, [*words, "--noise", "white", "--snr", "10", "--snr", "0", "--limit", "4", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    assert (tmp_path / "out" / "robustness.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert [network["name"] for network in found["networks"]] == ["srp_phat", "mlp"]
    assert len(table_rows(found)) == 6
    assert len(table_rows(found)[0]) == len(table_columns(found))
    assert "clean" in done.output


def test_runs_of_one_name_are_told_apart(made, tmp_path):
    other = tmp_path / "srp_phat"
    other.symlink_to(made / "srp_phat")
    found = measure_robustness([made / "srp_phat", other], made / "cache", made, "white", (0.0,), limit=2)
    assert len({network["name"] for network in found["networks"]}) == 2
    write_result(tmp_path / "out", found)


@pytest.mark.parametrize(("noise", "split", "named"), [
    ("loud", "test", "--noise loud: expected white"),
    ("noise:rain", "test", "noise:rain"),
    ("white", "val", "split `val` has no example"),
])
def test_wrong_calls_are_explained(made, noise, split, named):
    with pytest.raises(AudioDataError, match=named):
        measured(made, noise, split=split)


def test_a_cache_of_other_features_is_explained(made, tmp_path):
    cache = build_located(made, tmp_path / "cache", features={"log_mel": {"window_length": 512, "hop_length": 128, "n_mels": 16}})
    for run in ("srp_phat", "mlp"):
        with pytest.raises(AudioDataError, match=r"gcc_phat|shape"):
            measure_robustness([made / run], cache, made, "white", (0.0,))

