"""Files of a simulation: what is in them, when they are made again, and what becomes of sounds that are of no use."""

import numpy as np
import pytest
import soundfile as sf
from made_scenes import RATE, UNEVEN, band_limited_noise, free_field, measured_lag

from audiodata import audio
from audiodata.errors import ClipError
from audiodata.fingerprint import hash_json
from audiodata.geometry import pair_lags, pairs
from audiodata.records import ClipSpan
from audiodata.simulation import FileSettings, PlacedSound, SoundTask, describe, render
from audiodata.simulation.files import read_note, simulate_sound

AZIMUTHS = (0.0, 75.0, 200.0)


def task(root, sound="sound.wav", scene=None, span=(0.0, None), azimuths=AZIMUTHS, **keys):
    scene, settings = scene or free_field(), FileSettings(**keys)
    placed = tuple(PlacedSound(f"{sound}@{azimuth:g}", f"made/dog/{azimuth:g}/x.wav", azimuth) for azimuth in azimuths)
    return SoundTask(str(root), scene, settings, hash_json(describe(scene, settings)), ClipSpan(sound, sound, *span), placed)


@pytest.fixture
def root(tmp_path):
    sf.write(tmp_path / "sound.wav", band_limited_noise(6000), RATE)
    return tmp_path


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("made/**/*.wav"))}


def test_written_files_have_the_geometric_lags(root):
    for row, azimuth in zip(simulate_sound(task(root)), AZIMUTHS, strict=True):
        heard, rate = audio.decode(root / row.path)
        assert (heard.shape, rate) == ((4, row.samples), RATE)
        expected = pair_lags(UNEVEN, azimuth, RATE, distance_m=1.5)
        assert [measured_lag(heard[a], heard[b]) for a, b in pairs(4)] == pytest.approx(expected, abs=0.05)


def test_a_file_is_what_render_gives(root):
    row = simulate_sound(task(root))[1]
    sound = audio.decode(root / "sound.wav")[0]
    heard = audio.decode(root / row.path)[0]
    assert np.max(np.abs(heard - render(sound, RATE, 75.0, free_field()))) <= 0.6 / 32768
    assert (row.gain, row.distance_m, row.made, row.reason) == (1.0, 1.5, True, "")


def test_what_is_there_is_kept_and_what_differs_is_made_again(root):
    first = simulate_sound(task(root))
    before = contents(root)
    stamps = {name: (root / name).stat().st_mtime_ns for name in before}
    kept = simulate_sound(task(root))
    assert [row._replace(made=True) for row in kept] == first
    assert not any(row.made for row in kept)
    assert {name: (root / name).stat().st_mtime_ns for name in before} == stamps
    (root / "made/dog/75/x.wav").unlink()
    cut = root / "made/dog/200/x.wav"
    cut.write_bytes(cut.read_bytes()[:-100])
    assert [row.made for row in simulate_sound(task(root))] == [False, True, True]
    assert contents(root) == before


@pytest.mark.parametrize("change", [
    {"scene": free_field(distance_m=1.6)},
    {"scene": free_field(snr_db=30.0)},
    {"scene": free_field(speed_of_sound_m_s=340.0)},
    {"sample_rate": 8000},
    {"duration_s": 0.2},
    {"span": (0.1, 0.2)},
])
def test_another_scene_is_another_file(root, change):
    simulate_sound(task(root))
    before = contents(root)
    assert all(row.made for row in simulate_sound(task(root, **change)))
    assert all(contents(root)[name] != content for name, content in before.items())


def test_another_sound_is_another_file(root):
    simulate_sound(task(root))
    sf.write(root / "sound.wav", band_limited_noise(6000, seed=1), RATE)
    assert all(row.made for row in simulate_sound(task(root)))


def test_noise_depends_on_the_seed_and_the_clip_alone(root):
    noisy = free_field(snr_db=10.0)
    simulate_sound(task(root, scene=noisy))
    before = contents(root)
    for azimuth in AZIMUTHS:
        (root / f"made/dog/{azimuth:g}/x.wav").unlink()
        simulate_sound(task(root, scene=noisy, azimuths=(azimuth,)))
    assert contents(root) == before
    simulate_sound(task(root, scene=noisy, seed=1))
    assert all(contents(root)[name] != content for name, content in before.items())


def test_no_two_files_have_the_same_noise(root):
    noises = []
    for azimuth in AZIMUTHS:
        tasks = (task(root, scene=free_field(snr_db=snr_db), azimuths=(azimuth,)) for snr_db in (90.0, 10.0))
        quiet, noisy = (audio.decode(root / simulate_sound(one)[0].path)[0] for one in tasks)
        noises.extend((noisy - quiet)[:, :6000])
    assert np.max(np.abs(np.corrcoef(noises) - np.eye(len(noises)))) < 0.1


def test_a_long_sound_gives_its_loudest_span(root):
    sound = np.concatenate([0.001 * band_limited_noise(8000), band_limited_noise(4000, seed=2), np.zeros(8000)])
    sf.write(root / "sound.wav", sound, RATE)
    row = simulate_sound(task(root, duration_s=0.25))[0]
    heard = audio.decode(root / row.path)[0]
    assert heard.shape == (4, 4000) and row.duration_s == 0.25
    assert measured_lag(heard[0], sound[8000:12000]) == pytest.approx(np.linalg.norm(np.subtract(UNEVEN[0], (1.5, 0, 0))) / 343 * RATE, abs=15)
    assert np.sum(heard[0] ** 2) > 0.4 * np.sum(sound**2) / 1.5**2


def test_a_short_sound_gives_a_short_file_and_its_length_tells_no_azimuth(root):
    rows = simulate_sound(task(root, duration_s=10.0))
    assert 6000 < rows[0].samples < 6400
    assert len({row.samples for row in rows}) == 1


def test_files_have_the_rate_asked_for(root):
    row = simulate_sound(task(root, sample_rate=8000))[0]
    assert sf.info(root / row.path).samplerate == row.sample_rate == 8000


def test_what_would_be_clipped_is_turned_down_and_the_gain_is_told(root):
    sf.write(root / "sound.wav", 9 * band_limited_noise(6000), RATE, subtype="FLOAT")
    row = simulate_sound(task(root, scene=free_field(distance_m=0.15)))[0]
    heard = audio.decode(root / row.path)[0]
    assert row.gain < 1
    assert np.max(np.abs(heard)) == pytest.approx(0.99, abs=1e-4)
    assert read_note(root / row.path)[0]["gain"] == row.gain


@pytest.mark.parametrize(("content", "reason"), [
    (None, "missing_file"),
    (b"no sound at all, only text", "undecodable"),
    ("stereo", "wrong_channels"),
    ("nan", "not_finite"),
    ("empty", "empty"),
])
def test_a_sound_of_no_use_is_a_row_and_leaves_no_files(root, content, reason):
    simulate_sound(task(root))
    bad = root / "sound.wav"
    if content is None:
        bad.unlink()
    elif isinstance(content, bytes):
        bad.write_bytes(content)
    else:
        samples = {"stereo": np.zeros((100, 2)), "nan": np.full(100, np.nan), "empty": np.zeros(0)}[content]
        sf.write(bad, samples, RATE, subtype="FLOAT")
    rows = simulate_sound(task(root))
    assert [row.reason for row in rows] == [reason] * 3
    assert all("sound.wav" in row.detail and "\n" not in row.detail for row in rows)
    assert contents(root) == {}


def test_several_channels_are_mixed_where_that_is_asked_for(root):
    mono = band_limited_noise(6000)
    sf.write(root / "sound.wav", np.stack([2 * mono, np.zeros(6000)], axis=1), RATE, subtype="FLOAT")
    row = simulate_sound(task(root, mix_channels=True))[0]
    assert np.max(np.abs(audio.decode(root / row.path)[0] - render(mono, RATE, 0.0, free_field()))) <= 0.6 / 32768


def test_files_of_others_are_no_files_of_ours(root):
    sf.write(root / "other.wav", np.zeros(100), RATE)
    assert read_note(root / "other.wav") is None
    assert read_note(root / "nothing.wav") is None


class TestWav:
    def test_is_kept_bit_for_bit_with_its_note(self, tmp_path):
        steps = np.random.default_rng(0).integers(-32768, 32768, (5, 300))
        assert audio.write_wav(tmp_path / "a.wav", (steps / 32768).astype(np.float32), RATE, comment="a note") == 0
        back, rate = sf.read(tmp_path / "a.wav", dtype="int16")
        assert np.array_equal(back.T, steps) and rate == RATE
        with sf.SoundFile(tmp_path / "a.wav") as file:
            assert file.comment == "a note"
        assert audio.decode(tmp_path / "a.wav")[0].shape == (5, 300)
        assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]

    def test_is_the_same_every_time(self, tmp_path):
        for name in ("a.wav", "b.wav"):
            audio.write_wav(tmp_path / name, np.full((2, 10), 0.5, dtype=np.float32), RATE, comment="x")
        assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()

    def test_takes_no_nonsense(self, tmp_path):
        with pytest.raises(ClipError, match="empty"):
            audio.write_wav(tmp_path / "a.wav", np.zeros((2, 0), dtype=np.float32), RATE)
        assert list(tmp_path.iterdir()) == []
