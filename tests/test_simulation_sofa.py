"""Measured responses: read, looked up by direction, brought to another rate."""

import numpy as np
import pytest
from made_scenes import RATE, band_limited_noise, measured_lag, write_sofa

from audiodata.datasets.simulated_array import SimulatedArraySettings
from audiodata.errors import CatalogError, MetadataError
from audiodata.simulation import Scene, check_azimuths, convolve, read_sofa, render, scene_of
from audiodata.simulation.scene import MeasuredScene
from audiodata.simulation.sofa import measured_responses, nearest

KEMAR = "hrtf/mit_kemar_normal_pinna.sofa"


@pytest.fixture(scope="module")
def kemar(shared_data):
    return Scene(measured=MeasuredScene(file=str(shared_data / KEMAR), sha256="0"))


def impulses(places, length=64):
    """Taps [1, receiver, sample] with a 1 at each receiver's place."""
    taps = np.zeros((1, len(places), length))
    taps[0, np.arange(len(places)), places] = 1
    return taps


class TestKemar:
    def test_there_are_72_azimuths_at_elevation_0(self, shared_data, kemar):
        measured = read_sofa(shared_data / KEMAR)
        level = np.abs(measured.elevations_deg) < 0.01
        assert np.allclose(np.sort(measured.azimuths_deg[level]), np.arange(0, 360, 5))
        assert measured.distances_m == pytest.approx(1.4)
        check_azimuths(kemar, tuple(np.arange(0.0, 360.0, 5.0)))

    @pytest.mark.parametrize("rate", [8000, 16000, 44100])
    def test_the_near_ear_hears_louder_and_earlier(self, kemar, rate):
        sound = band_limited_noise(rate // 4)
        for azimuth_deg, (near, far) in ((90.0, (0, 1)), (270.0, (1, 0))):
            heard = render(sound, rate, azimuth_deg, kemar)
            assert heard.shape[0] == 2
            assert np.sum(heard[near] ** 2) > 4 * np.sum(heard[far] ** 2)
            assert -0.9e-3 < measured_lag(heard[near], heard[far]) / rate < -0.5e-3  # a head is 0.6 to 0.8 ms wide

    def test_front_and_back_reach_both_ears_alike(self, kemar):
        for azimuth_deg in (0.0, 180.0):
            left, right = render(band_limited_noise(4000), RATE, azimuth_deg, kemar)
            assert measured_lag(left, right) == pytest.approx(0.0, abs=0.1)

    def test_a_direction_that_was_not_measured_is_refused_with_the_nearest(self, kemar):
        with pytest.raises(MetadataError, match=r"within 1 degrees of azimuth 33, elevation 0; the nearest .* 35.0/0.0, 30.0/0.0, "):
            check_azimuths(kemar, (0.0, 33.0))

    def test_resampled_responses_sound_as_those_measured(self, shared_data):
        """A tone has the same level and lag at any rate."""
        measured = read_sofa(shared_data / KEMAR)
        at = nearest(measured, 60.0, 0.0, 0.5)
        found = []
        for rate in (44100, 16000):
            responses = measured_responses(measured, at, rate)
            times = np.arange(-responses.lead, responses.taps.shape[1] - responses.lead) / rate
            found.append([np.sum(responses.taps * np.exp(-2j * np.pi * f * times), axis=1) for f in (300.0, 1500.0, 5000.0)])
        assert np.allclose(found[0], found[1], rtol=2e-3)


def test_positions_are_brought_into_the_listeners_frame(tmp_path):
    """A listener at (1, 1, 0) who looks along y: what is at larger y is in front, at smaller x on the left."""
    taps = np.repeat(impulses([5, 9]), 3, axis=0)
    sources = [[1, 3, 0], [-1, 1, 0], [1, 1, 2]]
    measured = read_sofa(write_sofa(tmp_path / "a.sofa", taps, sources, kind="cartesian", listener=(1, 1, 0), view=(0, 1, 0)))
    assert measured.azimuths_deg[:2] == pytest.approx([0.0, 90.0])
    assert measured.elevations_deg == pytest.approx([0.0, 0.0, 90.0])
    assert measured.distances_m == pytest.approx([2.0, 2.0, 2.0])


def test_spherical_positions_count_counter_clockwise(tmp_path):
    measured = read_sofa(write_sofa(tmp_path / "a.sofa", np.repeat(impulses([5, 9]), 2, axis=0), [[30, 10, 1.2], [-90, 0, 1.2]]))
    assert measured.azimuths_deg == pytest.approx([30.0, 270.0])
    assert measured.elevations_deg == pytest.approx([10.0, 0.0])


def test_delays_of_the_file_are_kept(tmp_path):
    measured = read_sofa(write_sofa(tmp_path / "a.sofa", impulses([5, 5]), [[0, 0, 1]], delays=[[3.25, 0.0]]))
    heard = convolve(band_limited_noise(2000), measured_responses(measured, 0, RATE))
    assert measured_lag(heard[0], heard[1]) == pytest.approx(3.25, abs=0.01)


@pytest.mark.parametrize("rate", [8000, 12000, 44100])
def test_a_response_keeps_its_time_and_level_at_another_rate(tmp_path, rate):
    measured = read_sofa(write_sofa(tmp_path / "a.sofa", impulses([16, 48]), [[0, 0, 1]]))
    sound = band_limited_noise(rate // 4, top=0.3)
    heard = convolve(sound, measured_responses(measured, 0, rate))
    assert measured_lag(heard[0], sound) / rate == pytest.approx(16 / RATE, abs=1e-6)
    assert measured_lag(heard[1], sound) / rate == pytest.approx(48 / RATE, abs=1e-6)
    assert np.sum(heard[0] ** 2) == pytest.approx(np.sum(sound**2), rel=0.01)


def test_files_that_are_no_responses_are_refused(tmp_path):
    (tmp_path / "text.sofa").write_text("no")
    with pytest.raises(MetadataError, match=r"text.sofa: can't be read as SOFA, which is HDF5") as caught:
        read_sofa(tmp_path / "text.sofa")
    assert "\n" not in str(caught.value)
    write_sofa(tmp_path / "tf.sofa", impulses([1, 2]), [[0, 0, 1]], data="TF")
    with pytest.raises(MetadataError, match=r"expected a SOFA file of finite impulse responses \(DataType FIR\), got DataType 'TF'"):
        read_sofa(tmp_path / "tf.sofa")
    write_sofa(tmp_path / "flat.sofa", impulses([1, 2]), [[0, 0, 1]], delays=[[0.0, 0.0]])
    import h5py

    with h5py.File(tmp_path / "flat.sofa", "a") as file:
        del file["SourcePosition"]
    with pytest.raises(MetadataError, match="SourcePosition"):
        read_sofa(tmp_path / "flat.sofa")


def test_positions_and_receivers_must_be_equally_many(tmp_path):
    write_sofa(tmp_path / "a.sofa", impulses([1, 2]), [[0, 0, 1]])
    settings = SimulatedArraySettings(responses={"path": "a.sofa"}, azimuths_deg=(0.0,))
    with pytest.raises(CatalogError, match=r"has 3 positions, .*a.sofa has 2 receivers"):
        scene_of(settings, tmp_path, ((0, 0, 0), (0, 1, 0), (1, 0, 0)))
    assert scene_of(settings, tmp_path, None).measured.sha256
    with pytest.raises(MetadataError, match=r"b.sofa: no such file; \[dataset\] responses names"):
        scene_of(SimulatedArraySettings(responses={"path": "b.sofa"}), tmp_path, None)
