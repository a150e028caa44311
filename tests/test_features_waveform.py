"""The samples themselves, as a feature."""

import numpy as np
import pytest

from audiodata.errors import FeatureError
from audiodata.features import extract
from audiodata.features.waveform import SamplesConfig, waveform

SAMPLES = np.random.default_rng(0).uniform(-1, 1, (3, 500)).astype(np.float32)


def test_every_sample_of_every_channel_is_kept():
    made = extract(SAMPLES, 8000, {"waveform": SamplesConfig()})["waveform"]
    assert made.tobytes() == SAMPLES.tobytes() and made is not SAMPLES


def test_no_sample_rate_is_needed_but_a_wrong_one_is_refused():
    assert waveform(SAMPLES[0]).shape == (1, 500)
    with pytest.raises(FeatureError, match="8000 Hz, but the waveform has 16000 Hz"):
        extract(SAMPLES, 16000, {"waveform": SamplesConfig(sample_rate=8000)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_one_line(bad):
    with pytest.raises(FeatureError, match="not finite"):
        waveform(np.array([0.0, bad]))
