"""Sound files of any length and rate: separated piece by piece as if whole, written as long as they were, refused in one line."""

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_caches import BANDS, RATE, SAMPLES, build_mixtures, mixture, utterance
from model_caches import build_cache
from model_runs import door
from scipy.signal import butter, sosfiltfilt

from audiodata.errors import AudioDataError
from models import separating
from models.conversions import convert_run
from models.separating import at_mixture_level, open_separator, separate_files, separate_in_segments
from models.separation_pictures import magnitudes_db, separation_picture

TINY = ("--set", "filters=8", "--set", "channels=6", "--set", "dilated_layers=2", "--set", "batch_size=4", "--set", "pesq=off")


def bands_of(sound, speakers=("anna", "carl")):
    """Ideal separation: what the sound has in each speaker's band, float64 [source, sample]."""
    return np.stack([sosfiltfilt(butter(4, BANDS[speaker], "bandpass", fs=RATE, output="sos"), sound) for speaker in speakers])


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 4), st.sampled_from([1000, 1111, 4000, 6000, 6001]))
def test_outputs_that_change_places_from_segment_to_segment_come_out_in_order(seed, count, segment):
    generator = np.random.default_rng(seed)
    sources = torch.from_numpy(generator.normal(size=(count, 6000)))
    # the mixture is its own clock: a separator of segments that knows the answer and shuffles it
    clock = torch.arange(6000.0, dtype=torch.float64)

    def shuffled(part):
        first = int(part[0])
        return sources[:, first : first + len(part)][torch.from_numpy(generator.permutation(count))]

    found = separate_in_segments(shuffled, clock, segment)
    order = [int((found @ source).argmax()) for source in sources]
    assert sorted(order) == list(range(count))
    assert torch.allclose(found[order], sources)


def test_a_source_that_falls_silent_keeps_its_output():
    sources = torch.randn(2, 4000, generator=torch.Generator().manual_seed(1))
    sources[1, 900:2600] = 0
    clock = torch.arange(4000.0)
    turn = iter(range(100))
    found = separate_in_segments(lambda part: sources[:, int(part[0]) : int(part[0]) + len(part)].roll(next(turn), 0), clock, 1000)
    assert torch.allclose(found, sources)


def test_pieces_differ_little_from_the_whole():
    sound = mixture(("anna", "carl"), 0, 16000)[0]
    whole, pieces = (separate_in_segments(lambda part: torch.from_numpy(bands_of(part.numpy())), torch.from_numpy(sound), n) for n in (16000, 3000))
    assert (whole - pieces).norm() < 0.03 * whole.norm()


@pytest.mark.parametrize("factors", [(1.0, 1.0), (-40.0, 0.01), (5.0, -2.0)])
def test_sources_get_the_level_and_the_sign_that_they_have_in_the_mixture(factors):
    sources = torch.from_numpy(mixture(("anna", "carl"), 0)[1:])
    scaled = sources * torch.tensor(factors).view(2, 1)
    assert torch.allclose(at_mixture_level(scaled, sources.sum(0)), sources, atol=1e-4)


def test_outputs_that_are_alike_or_silent_get_no_absurd_level():
    sound = torch.from_numpy(mixture(("anna", "carl"), 0)[0])
    nearly = torch.stack([sound, sound + 1e-4 * torch.randn(len(sound), generator=torch.Generator().manual_seed(0))])
    assert torch.allclose(at_mixture_level(nearly, sound).sum(0), sound, atol=1e-3) and at_mixture_level(nearly, sound).abs().max() < 2
    silent = torch.stack([2 * sound, torch.zeros_like(sound)])
    assert torch.allclose(at_mixture_level(silent, sound), torch.stack([sound, torch.zeros_like(sound)]), atol=1e-5)
    assert not at_mixture_level(0 * silent, 0 * sound).any()


@pytest.fixture
def no_pictures(monkeypatch):
    """Do without the pictures, which take most of the time."""
    monkeypatch.setattr(separating, "_write_picture", lambda path, *_: path.write_bytes(b""))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, and sound files: one of another rate and with two channels, one of the run's rate, and its clean sources."""
    folder = tmp_path_factory.mktemp("separating")
    build_mixtures(folder / "cache")
    assert door("train", "separator", "--cache", folder / "cache", "--out", folder / "run", "--epochs", 2, *TINY) == 0
    sounds = mixture(("bert", "dora"), 5, 12345)
    for name, sound in zip(("both.wav", "bert.flac", "dora.wav"), 0.5 * sounds, strict=True):
        sf.write(folder / name, sound, RATE)
    stereo = np.stack([utterance("anna", 1, 22051), utterance("bert", 2, 22051)], axis=1)
    sf.write(folder / "stereo.wav", stereo, 44100)
    sf.write(folder / "short.wav", stereo[:7], 44100)
    sf.write(folder / "silence.flac", np.zeros(9000), 16000)
    return folder


FILES = [("both.wav", 12345, 8000), ("stereo.wav", 22051, 44100), ("short.wav", 7, 44100), ("silence.flac", 9000, 16000)]


@pytest.mark.parametrize(("name", "samples", "rate", "segment_s"), [*((*file, None) for file in FILES), (*FILES[0], 0.4)])
def test_what_is_written_is_as_long_and_at_the_rate_of_what_was_read(made, tmp_path, name, samples, rate, segment_s):
    (found,) = separate_files(made / "run", [made / name], tmp_path / "out", segment_s)
    assert [path.name for path in found.outputs] == [f"{found.file.stem}-1.flac", f"{found.file.stem}-2.flac"]
    for path in found.outputs:
        info = sf.info(path)
        assert (info.frames, info.samplerate, info.channels) == (samples, rate, 1)
    assert found.picture.read_bytes().startswith(b"\x89PNG") and found.duration_s == pytest.approx(samples / rate)
    assert len(list((tmp_path / "out").iterdir())) == 3 and found.si_sdr == ()


@pytest.mark.usefixtures("no_pictures")
def test_the_sources_add_up_to_the_mixture_as_well_as_they_can(made, tmp_path):
    (found,) = separate_files(made / "run", [made / "both.wav"], tmp_path)
    total = sum(sf.read(path)[0] for path in found.outputs)
    mixture_read, _ = sf.read(made / "both.wav")
    left = np.linalg.norm(mixture_read - total) / np.linalg.norm(mixture_read)
    assert left <= 1.001  # no worse than silence


@pytest.mark.usefixtures("no_pictures")
def test_clean_sources_put_the_outputs_into_their_order(made, tmp_path):
    clean = [made / "bert.flac", made / "dora.wav"]
    (first,) = separate_files(made / "run", [made / "both.wav"], tmp_path / "a", clean=clean)
    (second,) = separate_files(made / "run", [made / "both.wav"], tmp_path / "b", clean=clean[::-1])
    assert first.si_sdr == pytest.approx(second.si_sdr[::-1]) and len(first.si_sdr_improvement) == 2
    assert first.outputs[0].read_bytes() == second.outputs[1].read_bytes()


def test_segments_are_of_20_s_or_as_asked_for(made):
    separator = open_separator(made / "run")
    assert separator.segment == 20 * RATE and separator.sample_rate == RATE
    assert open_separator(made / "run", 0.5).segment == RATE // 2


@pytest.mark.usefixtures("no_pictures")
def test_a_converted_network_separates_as_much_at_a_time_as_it_was_trained_on(made, tmp_path):
    convert_run(made / "run", made / "cache", tmp_path / "spiking", {"time_steps": 8})
    assert open_separator(tmp_path / "spiking").segment == SAMPLES
    (found,) = separate_files(tmp_path / "spiking", [made / "both.wav"], tmp_path / "out")
    assert [sf.info(path).frames for path in found.outputs] == [12345, 12345]


def bad_calls(made):
    (made / "text.wav").write_text("no sound")
    sf.write(made / "nan.wav", np.full(100, np.nan, np.float32), RATE, subtype="FLOAT")
    (made / "other").mkdir(exist_ok=True)
    sf.write(made / "other" / "both.flac", np.zeros(100), RATE)
    run, both, clean = made / "run", made / "both.wav", [made / "bert.flac", made / "dora.wav"]
    return {
        "text.wav": (run, [made / "text.wav"]),
        "missing.wav": (run, [made / "missing.wav"]),
        "NaN": (run, [made / "nan.wav"]),
        "has the name of": (run, [both, made / "other" / "both.flac"]),
        "too short for this network": (run, [both], 0.001),
        "expected 2 files, one for each source": (run, [both], None, clean[:1]),
        "goes with one file": (run, [both, made / "stereo.wav"], None, clean),
        "clean sources must fit": (run, [made / "stereo.wav"], None, clean),
        "is silent": (run, [made / "silence.flac"], None, [made / "silence.flac"] * 2),
        "not a training run": (made / "cache", [both]),
    }


REFUSALS = [
    "text.wav", "missing.wav", "NaN", "has the name of", "too short for this network", "expected 2 files, one for each source",
    "goes with one file", "clean sources must fit", "is silent", "not a training run",
]  # fmt: skip


@pytest.mark.parametrize("told", REFUSALS)
def test_bad_input_is_refused_in_one_line(made, tmp_path, told):
    run, files, *further = bad_calls(made)[told]
    with pytest.raises(AudioDataError, match=told) as refusal:
        separate_files(run, files, tmp_path / "out", *further)
    assert "\n" not in str(refusal.value) and not list(tmp_path.glob("out/*"))


def test_other_networks_and_folders_that_cannot_be_made_are_refused(made, tmp_path):
    build_cache(tmp_path / "cache")
    assert door("train", "mlp", "--cache", tmp_path / "cache", "--out", tmp_path / "mlp", "--epochs", 1) == 0
    with pytest.raises(AudioDataError, match="`mlp` does not separate sounds; give a run of separator"):
        separate_files(tmp_path / "mlp", [made / "both.wav"], tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(AudioDataError, match="can't be made"):
        separate_files(made / "run", [made / "both.wav"], tmp_path / "file" / "out")


def test_a_tone_is_drawn_at_its_place_and_level():
    tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / RATE)
    levels = magnitudes_db(tone, RATE)
    middle = levels[:, levels.shape[1] // 2]
    assert middle.argmax() * RATE / 2 / (len(middle) - 1) == pytest.approx(1000, abs=RATE / 256)
    assert (magnitudes_db(0.1 * tone, RATE).max() - levels.max()) == pytest.approx(-20, abs=1e-6)


def test_the_picture_has_the_mixture_and_each_source_beside_the_clean_one():
    sounds = mixture(("anna", "carl"), 0)
    titles = [axes.get_title(loc="left") for axes in separation_picture(sounds[0], sounds[1:], RATE, sounds[1:]).axes[:-1]]
    assert titles == ["mixture", "separated source 1", "separated source 2", "clean source 1", "clean source 2"]
    alone = separation_picture(sounds[0], sounds[1:], RATE)
    assert len(alone.axes) == 4 and alone.axes[1].images[0].get_extent() == [0, 0.5, 0, 4]
