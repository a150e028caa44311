"""A mixture is the sum of its sources, at the levels that were asked for, and none of it is beyond full scale."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_speech import PITCHES_HZ, RATE, utterance

from audiodata.errors import CatalogError, ClipError
from audiodata.speech_mixing import MixtureRecipe, level_of, mix, read_recipe, recipe_text

VOICES = [utterance(PITCHES_HZ[name], number, 0.7 + 0.2 * number) for number, name in enumerate(("anna", "bert", "carl"))]
WHOLE = (0.0, None)


def recipe(voices=2, **keys):
    return MixtureRecipe(**({"spans": (WHOLE,) * voices, "levels_db": (1.5, -1.5, 0.0)[:voices]} | keys))


def active_rms(samples, rate=RATE):
    """Root of the mean power of those blocks of 20 ms that are at most 40 dB below the loudest, one block at a time."""
    block = rate // 50
    powers = [float(np.mean(samples[at : at + block].astype(np.float64) ** 2)) for at in range(0, len(samples) - block + 1, block)]
    return np.sqrt(np.mean([power for power in powers if power >= 1e-4 * max(powers)]))


def decibels(ratio):
    return 20 * np.log10(ratio)


@pytest.mark.parametrize("voices", [2, 3])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_mixture_is_the_sum_of_its_sources_rounded_once(voices, mode):
    made = mix(VOICES[:voices], RATE, recipe(voices, mode=mode))
    assert made.dtype == np.float32 and made.flags.c_contiguous
    assert np.array_equal(made[0], made[1:].astype(np.float64).sum(axis=0).astype(np.float32))


def test_min_ends_with_the_shortest_and_max_with_the_longest_after_silence():
    shortest, longest = len(VOICES[0]), len(VOICES[2])
    assert mix(VOICES, RATE, recipe(3)).shape == (4, shortest)
    made = mix(VOICES, RATE, recipe(3, mode="max"))
    assert made.shape == (4, longest)
    assert not made[1, shortest:].any() and made[3, shortest:].any()


@pytest.mark.parametrize("level", ["active", "rms"])
@pytest.mark.parametrize("snr_db", [0.0, 2.5, 5.0, -3.0])
def test_the_ratio_of_the_levels_is_the_one_asked_for(level, snr_db):
    measure = active_rms if level == "active" else lambda samples: np.sqrt(np.mean(samples.astype(np.float64) ** 2))
    made = mix(VOICES[:2], RATE, recipe(levels_db=(snr_db / 2, -snr_db / 2), level=level))
    assert decibels(measure(made[1]) / measure(made[2])) == pytest.approx(snr_db, abs=1e-4)


def test_pauses_do_not_count_for_the_active_level():
    speech = utterance(110.0, 5)
    paused = np.concatenate([speech, np.zeros(3 * RATE, np.float32)])
    assert level_of(paused, RATE, "active") == pytest.approx(level_of(speech, RATE, "active"), rel=1e-6)
    assert decibels(level_of(speech, RATE, "rms") / level_of(paused, RATE, "rms")) == pytest.approx(decibels(2.0), abs=1e-3)
    assert level_of(speech, RATE, "active") == pytest.approx(active_rms(speech), rel=1e-6)


def test_each_source_is_its_utterance_times_a_number():
    made = mix(VOICES[:2], RATE, recipe())
    for source, voice in zip(made[1:], VOICES, strict=False):
        heard = voice[: made.shape[1]].astype(np.float64)
        gain = source @ heard / (heard @ heard)
        np.testing.assert_allclose(source, gain * heard, atol=1e-7)


def test_drawn_levels_reach_nine_tenths_of_full_scale_and_gains_stay_where_they_fit():
    assert np.abs(mix(VOICES[:2], RATE, recipe())).max() == pytest.approx(0.9, abs=1e-6)
    quiet = mix(VOICES[:2], RATE, recipe(levels_db=(), gains=(0.25, 0.5)))
    assert np.array_equal(quiet[1], VOICES[0] * np.float32(0.25))
    loud = mix(VOICES[:2], RATE, recipe(levels_db=(), gains=(25.0, 50.0)))
    assert np.abs(loud).max() == pytest.approx(0.9, abs=1e-6)
    np.testing.assert_allclose(loud / loud.max(), quiet / quiet.max(), atol=1e-6)


samples = arrays(np.float32, st.integers(1, 400), elements=st.floats(-1, 1, width=32)).filter(lambda array: np.abs(array).max() > 1e-3)


@given(st.lists(samples, min_size=2, max_size=3), st.sampled_from(["min", "max"]), st.floats(0.01, 100))
def test_whatever_is_mixed_stays_in_full_scale_and_sums_up(utterances, mode, gain):
    made = mix(utterances, RATE, recipe(len(utterances), mode=mode, levels_db=(), gains=(gain, *[1.0] * (len(utterances) - 1))))
    assert np.abs(made).max() <= 1.0
    np.testing.assert_allclose(made[0], made[1:].sum(axis=0), atol=2e-7)


def test_an_utterance_without_sound_has_no_level():
    with pytest.raises(ClipError, match=r"b\.wav: is silent where it is mixed") as caught:
        mix([VOICES[0], np.zeros(9000, np.float32)], RATE, recipe(), ("a.wav", "b.wav"))
    assert caught.value.reason == "silent"


def test_a_recipe_survives_being_written_down():
    one = recipe(spans=(WHOLE, (0.1, 2.5)), levels_db=(0.1, -0.1), mode="max", level="rms")
    assert read_recipe(recipe_text(one)) == one
    assert recipe_text(read_recipe(recipe_text(one))) == recipe_text(one)


@pytest.mark.parametrize("keys", [{"levels_db": ()}, {"levels_db": (1.0,)}, {"gains": (1.0, 2.0)}, {"spans": (WHOLE,), "levels_db": (0.0,)}])
def test_a_recipe_needs_a_level_or_a_gain_for_each_utterance(keys):
    with pytest.raises(CatalogError):
        read_recipe(recipe_text(recipe().model_copy(update=keys)))
