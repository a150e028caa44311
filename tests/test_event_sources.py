"""From a clip's row to its events: read, made, held still, cut; and what is wrong with a file is said of that file."""

import json

import numpy as np
import pytest
from made_digits import write_digits
from made_event_sets import aedat2

from audiodata.errors import CatalogError, ClipError
from audiodata.event_sources import load_recordings, sees_image
from audiodata.events.stabilising import digit_centre
from audiodata.records import ClipSpan


def clip_of(path, partner=None, start_s=0.0, duration_s=None, index=0, **reader):
    return ClipSpan(path, path, start_s, duration_s, index, reader=json.dumps(reader), partner=partner)


@pytest.fixture
def moving(tmp_path):
    """Write a dot that moves as the digits of MNIST-DVS did, recorded by a clock that has been running for a while."""
    t = np.arange(0, 2_000_000, 500)
    x, y = digit_centre(t, "upright")
    (tmp_path / "dot.aedat").write_bytes(aedat2(t + 5_000_000, 127 - y, 127 - x, np.ones_like(x)))
    return tmp_path


def test_a_digit_is_held_still_on_request(moving):
    loose = load_recordings(moving, clip_of("dot.aedat", format="aedat2"))["visual"]
    still = load_recordings(moving, clip_of("dot.aedat", format="aedat2", stabilise="upright"))["visual"]
    assert loose.array["t"][0] == 0, "time counts from the first event"
    assert len(set(loose.array[["x", "y"]].tolist())) > 5
    assert set(still.array[["x", "y"]].tolist()) == {(63, 63)}


def test_a_span_of_a_recording(moving):
    part = load_recordings(moving, clip_of("dot.aedat", start_s=0.5, duration_s=0.1, format="aedat2"))["visual"]
    assert len(part.array) == 200 and part.array["t"][0] == 0
    with pytest.raises(ClipError, match=r"dot.aedat: ends at .* asked for from 3 s") as caught:
        load_recordings(moving, clip_of("dot.aedat", start_s=3.0, format="aedat2"))
    assert caught.value.reason == "past_end"


def test_what_is_not_there_is_said_of_its_file(moving):
    with pytest.raises(ClipError, match=r"gone[.]aedat") as caught:
        load_recordings(moving, clip_of("gone.aedat", format="aedat2"))
    assert caught.value.reason == "missing_file" and str(moving) not in str(caught.value)


def test_a_pair_has_one_recording_of_each_sense(tmp_path):
    root = write_digits(tmp_path / "digits", images=2, voices=1)
    image = clip_of("images/t10k-images-idx3-ubyte.gz", index=1, format="retina", seed=3)
    sound = clip_of("voices/1_ann_0.wav", format="cochlea", seed=3)
    assert list(load_recordings(root, image._replace(partner=sound))) == ["visual", "auditory"]
    with pytest.raises(ClipError, match="one visual and one auditory"):
        load_recordings(root, sound._replace(partner=sound))


def test_a_simulated_sensor_is_the_same_for_the_same_seed(tmp_path):
    root = write_digits(tmp_path / "digits", images=2, voices=1)
    first, again, other = (
        load_recordings(root, clip_of("images/t10k-images-idx3-ubyte.gz", index=1, format="retina", seed=seed))["visual"].array.tolist()
        for seed in (3, 3, 4)
    )
    assert first == again != other


def test_an_unknown_setting_of_a_sensor_is_named(tmp_path):
    with pytest.raises(CatalogError, match="unknown key `colour`"):
        load_recordings(tmp_path, clip_of("a.wav", format="cochlea", seed=0, colour="red"))


def test_a_silent_sound_is_a_recording_without_events(tmp_path):
    import soundfile

    soundfile.write(tmp_path / "silence.wav", np.zeros(4000), 8000)
    with pytest.raises(ClipError, match=r"silence[.]wav: has no events") as caught:
        load_recordings(tmp_path, clip_of("silence.wav", format="cochlea", seed=0))
    assert caught.value.reason == "empty"


def test_images_share_a_file():
    assert sees_image(clip_of("a", format="retina", seed=0)) and not sees_image(clip_of("a", format="npz"))
    assert not sees_image(ClipSpan("a", "a.wav"))


def test_a_span_that_begins_in_silence_counts_from_its_first_event(tmp_path):
    """Else a recording that is repeated by its duration would overlap with itself."""
    t = np.array([0, 900_000, 1_000_000])
    (tmp_path / "late.aedat").write_bytes(aedat2(t, t % 7, t % 5, np.ones_like(t)))
    part = load_recordings(tmp_path, clip_of("late.aedat", start_s=0.5, format="aedat2"))["visual"]
    assert part.array["t"].tolist() == [0, 100_000] and part.duration_us == 100_001
