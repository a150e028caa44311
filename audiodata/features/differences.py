"""How level and phase of a sound differ between two microphones, in mel bands: what ears take directions from (Rayleigh 1907)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from audiodata.features import spatial_kernels
from audiodata.features.base import Feature, as_waveform, check_pairs, settle
from audiodata.features.spectral import MelBandsConfig, MelLevels
from audiodata.features.stft import Block, Framing, analyse
from audiodata.geometry import pairs

# Float32 leaves in every bin an error of about 1e-7 of its frame's rms magnitude; a cross spectrum whose square is less than this
# times the sum of what such errors contribute, squared and over their own square, may be turned by more than 1e-4 rad.
FLOAT32_SHARE = 1e-5


class LevelDifferenceConfig(MelBandsConfig):
    """Settings of `level_difference`: those of mel bands."""


class PhaseDifferenceConfig(MelBandsConfig):
    """Settings of `phase_difference`: those of mel bands."""


@dataclass(frozen=True)
class CrossBands:
    """Angles of the cross spectra of all pairs of channels in mel bands."""

    mel: MelLevels
    precise = False

    @classmethod
    def of(cls, config: PhaseDifferenceConfig) -> "CrossBands":
        """Resolve a config whose sample rate is known."""
        return cls(MelLevels.of(config))

    @property
    def framing(self) -> Framing:
        """Of the mel bands."""
        return self.mel.framing

    def shape(self, channels: int, frames: int) -> tuple[int, int, int]:
        """Shape [pair, frame, mel]."""
        return check_pairs("phase_difference", channels), frames, self.mel.n_mels

    def measure(self, block: Block, out: np.ndarray, doubtful: np.ndarray) -> None:
        """Fill `out` [pair, frame, mel] with angles in rad; frames in which float32 may turn one are doubtful."""
        bands = [self._bands(power) for power, _ in block.powers]
        mean_power = [total.astype(np.float64) / self.framing.bins for _, total in block.powers]
        for spectrum, (_, total) in zip(block.spectra, block.powers, strict=True):
            doubtful |= (total < spatial_kernels.TINY_POWER) & (spectrum != 0).any(axis=0)
        for pair, (first, second) in enumerate(pairs(block.channels)):
            real, imag = np.empty((2, *bands[0].shape), block.joint_spectrum.real.dtype)
            spatial_kernels.fill_cross_bands(block.spectra[first], block.spectra[second], self.mel.bank, real, imag)
            spatial_kernels.fill_angles(real, imag, out[pair])
            error = self._peaks() * (mean_power[first] * bands[second] + mean_power[second] * bands[first])
            doubtful |= (real.astype(np.float64) ** 2 + imag.astype(np.float64) ** 2 < FLOAT32_SHARE * error).any(axis=0)

    def _bands(self, power: np.ndarray) -> np.ndarray:
        """Powers of the bands, float32 [mel, frame]."""
        sums = np.empty((self.mel.n_mels, power.shape[1]), np.float32)
        spatial_kernels.fill_bands(power, self.mel.bank, sums)
        return sums

    def _peaks(self) -> np.ndarray:
        """Largest weight of each band's filter, [mel, 1]; 0 for one that hears nothing."""
        bank = self.mel.bank
        return np.array([[bank.weight[first:end].max(initial=0)] for first, end in zip(bank.offset, bank.offset[1:], strict=False)])


def level_difference(
    waveform: np.ndarray,
    config: LevelDifferenceConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Difference of levels between the channels of all pairs, in mel bands (interaural level or intensity difference).

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Full scale 1.0; at least 2 channels.
    config : LevelDifferenceConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed unless the config has it.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `LevelDifferenceConfig`.

    Returns
    -------
    float32 [pair, frame, mel]
        `log_mel` of a pair's first channel minus that of its second, in dB; pairs as `audiodata.geometry.pairs` has them.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    >>> round(float(level_difference(np.stack([2 * sound, sound]), sample_rate=16000, n_mels=4).max()), 2)
    6.02
    """
    config = settle(LevelDifferenceConfig, config, sample_rate, settings)
    waveform = as_waveform(waveform)
    check_pairs("level_difference", len(waveform))
    analysis = MelLevels.of(config)
    return _finish_levels(analyse(waveform, [analysis], fft)[analysis], config)


def phase_difference(
    waveform: np.ndarray,
    config: PhaseDifferenceConfig | None = None,
    *,
    sample_rate: int | None = None,
    fft: str = "scipy",
    **settings: Any,
) -> np.ndarray:
    """Difference of phases between the channels of all pairs, in mel bands (interaural phase difference).

    The angle of the cross spectrum ``sum_k w_k X_a conj X_b`` under the weights of each mel filter. While a delay is short against a
    band's period it is minus 2 pi times the band's frequency times the delay of channel a.

    Parameters
    ----------
    waveform : float32 [channel, sample]
        Full scale 1.0; at least 2 channels.
    config : PhaseDifferenceConfig, optional
        Or its settings as keywords.
    sample_rate : int, optional
        In Hz; needed unless the config has it.
    fft : str
        Where the FFTs come from: ``"scipy"`` or ``"mkl"``.
    **settings
        Of `PhaseDifferenceConfig`.

    Returns
    -------
    float32 [pair, frame, mel]
        In rad, -pi to pi; 0 where a channel is silent. Pairs as `audiodata.geometry.pairs` has them.

    Raises
    ------
    FeatureError
        Settings or a waveform that don't fit.
    EnvironmentFault
        The FFT asked for isn't installed.

    Examples
    --------
    >>> sound = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    >>> late_first = np.stack([np.roll(sound, 1), sound])
    >>> bool((phase_difference(late_first, sample_rate=16000, n_mels=4)[0, 4] < 0).all())
    True
    """
    config = settle(PhaseDifferenceConfig, config, sample_rate, settings)
    analysis = CrossBands.of(config)
    return analyse(as_waveform(waveform), [analysis], fft)[analysis]


def _finish_levels(levels: np.ndarray, config: LevelDifferenceConfig) -> np.ndarray:
    check_pairs("level_difference", len(levels))
    first, second = np.array(pairs(len(levels))).T
    return levels[first] - levels[second]


def _finish_phases(measured: np.ndarray, config: PhaseDifferenceConfig) -> np.ndarray:
    return measured


def _level_shape(config: LevelDifferenceConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return check_pairs("level_difference", channels), config.framing.frames(samples), config.n_mels


def _phase_shape(config: PhaseDifferenceConfig, channels: int, samples: int) -> tuple[int, int, int]:
    return check_pairs("phase_difference", channels), config.framing.frames(samples), config.n_mels


LEVEL_DIFFERENCE = Feature(
    config=LevelDifferenceConfig,
    function=level_difference,
    shape=_level_shape,
    axes=("pair", "frame", "mel"),
    unit="dB",
    version=1,
    source="waveform",
    analysis=MelLevels.of,
    finish=_finish_levels,
)

PHASE_DIFFERENCE = Feature(
    config=PhaseDifferenceConfig,
    function=phase_difference,
    shape=_phase_shape,
    axes=("pair", "frame", "mel"),
    unit="rad",
    version=1,
    source="waveform",
    analysis=CrossBands.of,
    finish=_finish_phases,
)
