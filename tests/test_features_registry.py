"""Every entry of `FEATURES` keeps the contract, `extract` shares transforms, what doesn't fit is one clear line."""

import json
from dataclasses import dataclass, field

import numpy as np
import pydantic
import pytest

from audiodata.errors import AudioDataError, EnvironmentFault, FeatureError
from audiodata.events.record import make_events
from audiodata.features import (
    FEATURES,
    at_sample_rate,
    at_window,
    extract,
    extract_events,
    extract_image,
    feature_shape,
    numeric_versions,
    stft,
)
from audiodata.features.image import ImageConfig, image
from audiodata.features.spectral import LogMelConfig, MfccConfig, log_mel, mfcc
from audiodata.settings import Settings

SAMPLE_RATE = 16000
WINDOW_S = 0.5
everyone = pytest.mark.parametrize("name", FEATURES)


def source(name, seed=0):
    """An input for a feature and its size."""
    rng = np.random.default_rng(seed)
    kind = FEATURES[name].source
    if kind == "image":
        return rng.integers(0, 256, (3, 5, 7), dtype=np.uint8), (3, 5, 7)
    if kind in ("visual", "auditory"):
        size = (34, 34, 2) if kind == "visual" else (64, 1, 2)
        t, x, y, p = (rng.integers(0, end, 3000) for end in (500_000, *size))
        return make_events(np.sort(t), x, y if kind == "visual" else None, p, size), (1, *size)
    return (0.1 * rng.standard_normal((2, 5000))).astype(np.float32), (2, 5000)


def content(made):
    """The array of what `source` makes."""
    return made if isinstance(made, np.ndarray) else made.array


def settled(name):
    """The default settings, with what a build fills in."""
    return at_window(at_sample_rate(FEATURES[name].config(), SAMPLE_RATE), WINDOW_S)


def compute(name, given):
    """Compute a feature with its default settings."""
    configs = {name: FEATURES[name].config()}
    kind = FEATURES[name].source
    if kind == "image":
        return extract_image(given, configs)[name]
    if kind == "waveform":
        return extract(given, SAMPLE_RATE, configs)[name]
    return extract_events({kind: given}, configs, window_s=WINDOW_S)[name]


@pytest.fixture(autouse=True)
def _tonic_where_needed(request):
    """Skip a feature that needs a package which is not installed."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    for package in FEATURES[name].packages if name in FEATURES else ():
        pytest.importorskip(package, reason=f"{name} needs {package}")


@everyone
def test_result_is_contiguous_and_as_announced(name):
    given, size = source(name)
    result = compute(name, given)
    shape = feature_shape(name, settled(name), *size)
    assert result.dtype == FEATURES[name].dtype
    assert result.flags.c_contiguous
    assert len(result.shape) == len(shape) == len(FEATURES[name].axes)
    assert all(length in (announced, length if announced is None else None) for length, announced in zip(result.shape, shape, strict=True))
    assert np.isfinite(result).all()


@everyone
def test_function_is_pure_and_repeats(name):
    given, _ = source(name)
    before = content(given).copy()
    content(given).flags.writeable = False
    first, second = FEATURES[name].function(given, settled(name)), compute(name, given)
    assert first.tobytes() == second.tobytes()
    np.testing.assert_array_equal(content(given), before)
    assert first.tobytes() != compute(name, source(name, seed=1)[0]).tobytes()


@everyone
def test_config_is_frozen_hashable_and_survives_json(name):
    config = FEATURES[name].config()
    assert isinstance(config, Settings)
    assert FEATURES[name].config(**json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert hash(config) == hash(FEATURES[name].config())
    with pytest.raises(pydantic.ValidationError):
        setattr(config, next(iter(type(config).model_fields)), 1)


@everyone
def test_record_says_what_it_is(name):
    feature = FEATURES[name]
    assert feature.axes[0] in ("channel", "pair", "time", "event")
    assert feature.unit
    assert feature.version >= 1
    assert (feature.analysis is None) == (feature.finish is None)
    for needed in ("Parameters", "Returns", "Raises"):
        assert f"{needed}\n    ---" in feature.function.__doc__


@everyone
def test_an_unknown_setting_is_one_line_with_the_nearest_known(name):
    known = list(FEATURES[name].config.model_fields)[-1]
    with pytest.raises(FeatureError) as error:
        FEATURES[name].function(source(name)[0], **{f"{known}x": 1})
    assert_one_line(error, f"{known}x", f"`{known}`")


def assert_one_line(error, *words):
    """The message is one line with these words in it."""
    message = str(error.value)
    assert isinstance(error.value, AudioDataError)
    assert "\n" not in message
    for word in words:
        assert word in message


@dataclass
class CountingBackend:
    """Real FFTs, counted by type and frame."""

    frames: dict = field(default_factory=lambda: {"float32": 0, "float64": 0})

    def load(self):
        """Return the counting rfft."""

        def rfft(frames):
            self.frames[frames.dtype.name] += frames.shape[1]
            return np.ascontiguousarray(scipy_rfft(frames))

        scipy_rfft = stft.FftBackend("scipy.fft", {"workers": 1}, ()).load()
        return rfft


@pytest.fixture
def counted(monkeypatch):
    """Count the frames that go through an FFT."""
    backend = CountingBackend()
    monkeypatch.setitem(stft.FFT_BACKENDS, "scipy", backend)
    return backend.frames


def test_equal_framing_shares_one_stft(counted):
    waveform, _ = source("mfcc")
    extract(waveform, SAMPLE_RATE, {"log_mel": LogMelConfig(n_mels=64, n_fft=2048), "mfcc": MfccConfig(n_mels=40)})
    assert counted == {"float32": 2 * 10, "float64": 0}


def test_unequal_framing_does_not(counted):
    waveform, _ = source("mfcc")
    extract(waveform, SAMPLE_RATE, {"log_mel": LogMelConfig(hop_length=256), "mfcc": MfccConfig(hop_length=512)})
    assert counted == {"float32": 2 * (20 + 10), "float64": 0}


def test_equal_mel_settings_share_the_bands(monkeypatch):
    filled = []
    fill_levels = stft.kernels.fill_levels
    monkeypatch.setattr(stft.kernels, "fill_levels", lambda *arrays: filled.append(1) or fill_levels(*arrays))
    waveform, _ = source("mfcc")
    settings = {"window_length": 256, "hop_length": 100, "n_mels": 30}
    configs = {"log_mel": LogMelConfig(**settings, top_db=20), "mfcc": MfccConfig(**settings)}
    extract(waveform, SAMPLE_RATE, {"mfcc": configs["mfcc"]})
    alone = len(filled)
    made = extract(waveform, SAMPLE_RATE, configs)
    assert len(filled) == 2 * alone
    for name, config in configs.items():
        assert made[name].tobytes() == FEATURES[name].function(waveform, config, sample_rate=SAMPLE_RATE).tobytes()


def test_a_recording_that_needs_float64_throughout_is_not_transformed_twice(counted):
    time_s = np.arange(160000) / SAMPLE_RATE
    waveform = np.sin(2 * np.pi * 440 * time_s) + 1e-5 * np.random.default_rng(0).standard_normal(160000)
    log_mel(waveform.astype(np.float32), sample_rate=SAMPLE_RATE, window_length=1024)
    frames = 160000 // 512 + 1
    assert frames - 2 <= counted["float64"] <= frames  # the last frames are half empty
    assert counted["float32"] <= 80


def test_a_few_quiet_frames_are_transformed_again_and_no_more(counted):
    waveform = 0.1 * np.random.default_rng(0).standard_normal(160000)
    waveform[80000:84000] = np.sin(2 * np.pi * 440 / SAMPLE_RATE * np.arange(4000))
    log_mel(waveform.astype(np.float32), sample_rate=SAMPLE_RATE, window_length=1024)
    assert counted["float32"] == 160000 // 512 + 1
    assert 3 <= counted["float64"] <= 10


@pytest.mark.parametrize("samples", [1, 511, 512, 513, 5120])
@pytest.mark.parametrize("n_fft", [None, 2049])
def test_shape_is_known_beforehand(samples, n_fft):
    config = MfccConfig(sample_rate=SAMPLE_RATE, n_fft=n_fft)
    assert mfcc(np.zeros((2, samples), np.float32), config).shape == feature_shape("mfcc", config, 2, samples)
    assert feature_shape("mfcc", MfccConfig(), 2, 5120) == (2, 11, 20)


def test_one_axis_is_one_channel_and_float64_is_taken():
    waveform = source("mfcc")[0][0]
    both = mfcc(waveform, sample_rate=SAMPLE_RATE), mfcc(waveform[None].astype(np.float64), sample_rate=SAMPLE_RATE)
    assert both[0].tobytes() == both[1].tobytes()


def test_a_view_and_a_read_only_array_are_taken():
    waveform = np.zeros((5000, 2), np.float32)
    waveform[:, 1] = source("mfcc")[0][0]
    view = waveform.T
    view.flags.writeable = False
    np.testing.assert_array_equal(log_mel(view, sample_rate=SAMPLE_RATE)[1], log_mel(view[1].copy(), sample_rate=SAMPLE_RATE)[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hop_length": 0}, ["hop_length", "0"]),
        ({"window_length": 1}, ["window_length"]),
        ({"n_fft": 100}, ["n_fft = 100", "window_length = 2048"]),
        ({"n_mels": 10, "n_mfcc": 11}, ["n_mfcc = 11", "n_mels = 10"]),
        ({"f_min_hz": 4000, "f_max_hz": 4000}, ["f_min_hz = 4000"]),
        ({"f_min_hz": 8000.0}, ["f_min_hz = 8000"]),
        ({"f_max_hz": 8001.0}, ["8001", "8000 Hz", "16000"]),
        ({"f_min_hz": float("nan")}, ["f_min_hz"]),
        ({"mel_scale": "bark"}, ["mel_scale", "slaney", "htk"]),
        ({"top_db": -1}, ["top_db"]),
        ({"config": MfccConfig(), "n_mfcc": 3}, ["not both", "n_mfcc"]),
        ({"config": LogMelConfig()}, ["MfccConfig", "LogMelConfig"]),
        ({"config": MfccConfig(sample_rate=8000)}, ["8000 Hz", "16000 Hz"]),
        ({"fft": "fftw"}, ["fftw", "scipy", "mkl"]),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings, words):
    with pytest.raises(FeatureError) as error:
        mfcc(np.zeros(5000, np.float32), sample_rate=SAMPLE_RATE, **settings)
    assert_one_line(error, *words)


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (np.zeros((1, 0), np.float32), ["at least one sample", "[1, 0]"]),
        (np.zeros((1, 2, 3), np.float32), ["[1, 2, 3]"]),
        (np.zeros(100, np.int16), ["int16", "full scale"]),
        (np.zeros((5000, 2), np.float32), ["[5000, 2]", "transpose"]),
        (np.array([0, np.nan] * 500, np.float32), ["not finite"]),
        (np.array([0, np.inf] * 500, np.float32), ["not finite"]),
        (np.full(1000, 1e30, np.float32), ["float32"]),
    ],
)
def test_waveforms_that_do_not_fit_are_one_line(waveform, words):
    with pytest.raises(FeatureError) as error:
        extract(waveform, SAMPLE_RATE, {"log_mel": LogMelConfig()})
    assert_one_line(error, *words)


def test_a_sample_rate_is_needed():
    with pytest.raises(FeatureError) as error:
        log_mel(np.zeros(5000, np.float32))
    assert_one_line(error, "sample rate")


@pytest.mark.parametrize("name", ["log_mell", "image"])
def test_names_that_do_not_fit_are_one_line(name):
    with pytest.raises(FeatureError) as error:
        extract(np.zeros(5000, np.float32), SAMPLE_RATE, {name: LogMelConfig()})
    assert_one_line(error, name)


def test_a_filter_between_two_bins_is_warned_of_and_stays_at_the_floor():
    with pytest.warns(UserWarning, match=r"of 61 mel filters .*number 0\).* use fewer n_mels"):
        levels = log_mel(source("mfcc")[0], sample_rate=SAMPLE_RATE, window_length=64, n_mels=61)
    assert (levels[..., 0] == -100).all()
    assert levels.max() > -50


def test_versions_name_the_backend_and_the_packages():
    assert numeric_versions() == numeric_versions("scipy")
    assert numeric_versions()["fft"] == "scipy"
    assert set(numeric_versions()) == {"fft", "numba", "numpy", "scipy"}


def test_a_backend_that_is_not_installed_names_the_command(monkeypatch):
    monkeypatch.setitem(stft.FFT_BACKENDS, "mkl", stft.FftBackend("no_such_module", {}, ("no_such_package",)))
    for call in (
        lambda: numeric_versions("mkl"),
        lambda: log_mel(np.zeros(99, np.float32), sample_rate=8000, fft="mkl"),
    ):
        with pytest.raises(EnvironmentFault) as error:
            call()
        assert_one_line(error, "pip install 'audiodata[fast]'")


def test_mkl_gives_the_same_numbers():
    pytest.importorskip("mkl_fft", reason="the extra 'fast' is not installed")
    waveform, _ = source("mfcc")
    for settings in ({}, {"window_length": 401, "hop_length": 100, "n_mels": 40, "n_fft": 499}):
        slow = mfcc(waveform, sample_rate=SAMPLE_RATE, **settings)
        fast = mfcc(waveform, sample_rate=SAMPLE_RATE, fft="mkl", **settings)
        np.testing.assert_allclose(fast, slow, atol=1e-3)
    assert {"mkl_fft", "mkl"} < set(numeric_versions("mkl"))


def test_image_scales_bytes():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    np.testing.assert_array_equal(image(pixels), (np.arange(256) / 255).astype(np.float32).reshape(1, 16, 16))
    np.testing.assert_array_equal(image(pixels, scale=2.0).ravel(), 2.0 * np.arange(256, dtype=np.float32))
    assert image(pixels).max() == 1.0


@pytest.mark.parametrize("pixels", [np.zeros((3, 3), np.uint8), np.zeros((1, 3, 3), np.float32), np.zeros((1, 0, 3), np.uint8)])
def test_images_that_do_not_fit_are_one_line(pixels):
    with pytest.raises(FeatureError) as error:
        extract_image(pixels, {"image": ImageConfig()})
    assert_one_line(error, "uint8 [channel, row, column]", str(list(pixels.shape)))
