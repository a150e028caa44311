"""Take the speakers of any sound files apart with a trained network: sound files and a picture of spectra for each."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from audiodata.audio import decode, fill, mix_channels, resample, write_flac
from audiodata.errors import AudioDataError, ClipError, EnvironmentFault
from audiodata.progress import Bar
from audiodata.shards import replacing
from audiodata.timing import seconds_to_samples
from models import MODELS
from models.evaluation import load_network
from models.runs import RunRecord
from models.si_sdr import matching, ordered, si_sdr, sounding

# Up to so long a sound is separated as a whole; a spiking network, which holds all its time steps, takes as much as it was trained on.
WHOLE_S = 20.0
# Outputs are nearly the same from a correlation of 0.98 on: what makes them differ is then less than this share of what they have in common.
ALIKE = 0.01


class SoundSeparator(NamedTuple):
    """A trained network that is ready to separate sounds.

    Attributes
    ----------
    network : Module
    sample_rate : int
        That it was trained at, Hz.
    segment : int
        Samples that it takes at a time.
    """

    network: nn.Module
    sample_rate: int
    segment: int

    def __call__(self, mixture: Tensor) -> Tensor:
        """Separate ``[sample]`` of any length into ``[source, sample]``, at the levels that the sources have in the mixture."""
        with torch.no_grad():
            found = separate_in_segments(lambda sound: self.network(sound.view(1, 1, -1)).sources[0], mixture, self.segment)
        return at_mixture_level(found, mixture)


class SeparatedFile(NamedTuple):
    """What became of one sound file.

    Attributes
    ----------
    file : Path
    outputs : tuple of Path
        A sound file for each source.
    picture : Path
    duration_s : float
    si_sdr, si_sdr_improvement : tuple of float
        Of each source in dB, where the clean ones are known; measured at the network's sample rate.
    """

    file: Path
    outputs: tuple[Path, ...]
    picture: Path
    duration_s: float
    si_sdr: tuple[float, ...] = ()
    si_sdr_improvement: tuple[float, ...] = ()


def separate_files(run: Path, files: Sequence[Path], out: Path, segment_s: float | None = None, clean: Sequence[Path] = ()) -> list[SeparatedFile]:
    """Separate sound files of any length and sample rate.

    Parameters
    ----------
    run : Path
        Of a separating network, converted or not.
    files : sequence of Path
        Several channels are taken as their mean.
    out : Path
        Folder for ``NAME-1.flac``, ``NAME-2.flac`` and so on, at the rate and of the length of NAME, and ``NAME.png``.
    segment_s : float, optional
        Length of the overlapping segments that longer sounds are separated in; default: 20 s, of a spiking network that of its training examples.
    clean : sequence of Path
        The clean sources of the only file, if they are known: they are drawn, put the outputs into their order and tell how good these are.

    Raises
    ------
    AudioDataError
        Not a run of a separating network, two files of one name, a file that can't be read, or clean sources that don't fit.
    """
    separator = open_separator(run, segment_s)
    _check_names(files)
    if clean and len(files) != 1:
        raise AudioDataError(f"--clean: goes with one file, got {len(files)}; separate them one by one")
    _make_folder(out)
    found = []
    with Bar("separating", len(files), "files") as bar:
        for file in files:
            found.append(_separate_file(separator, file, out, clean))
            bar.advance()
    return found


def open_separator(run: Path, segment_s: float | None = None) -> SoundSeparator:
    """Load a separating network; arguments and errors as of `separate_files`."""
    network, record = load_network(run)
    if MODELS[record.network].task != "separation":
        known = ", ".join(name for name, model in MODELS.items() if model.task == "separation")
        raise AudioDataError(f"{run}: `{record.network}` does not separate sounds; give a run of {known}")
    rate = record.network_settings["sample_rate"]
    if rate is None:
        raise AudioDataError(f"{run}: does not say at which sample rate it was trained; train again on a cache of mixtures")
    samples = _default_segment(network, record, rate) if segment_s is None else seconds_to_samples(segment_s, rate)
    if samples < 2 * record.network_settings["filter_length"]:
        raise AudioDataError(f"--segment {segment_s}: too short for this network; use some seconds")
    return SoundSeparator(network, rate, samples)


def separate_in_segments(separate: Callable[[Tensor], Tensor], mixture: Tensor, segment: int) -> Tensor:
    """Separate a sound piece by piece, each source staying in its output.

    Each segment overlaps the one before by at least a half. Its outputs are put into the order in which they best match what is there already
    (by SI-SDR, see `models.si_sdr.matching`), and take its place along a straight line.

    Parameters
    ----------
    separate : callable
        ``[sample] -> [source, sample]``, in any order.
    mixture : Tensor [sample]
    segment : int
        Samples; at least 2. A sound that is no longer is separated as a whole.
    """
    samples = mixture.shape[-1]
    if samples <= segment:
        return separate(mixture)
    found = separate(mixture[:segment])
    starts = [*range(segment // 2, samples - segment, segment // 2), samples - segment]
    joined = torch.cat([found, found.new_zeros(len(found), samples - segment)], dim=1)
    for start, end in zip(starts, [segment, *(start + segment for start in starts)], strict=False):
        _join(joined, separate(mixture[start : start + segment]), start, end - start)
    return joined


def _join(joined: Tensor, found: Tensor, start: int, overlap: int) -> None:
    """Put the outputs of a segment in their place, of whose samples the first `overlap` are there already."""
    there = joined[:, start : start + overlap]
    found = found[matching(found[None, :, :overlap], there[None])[0]]
    share = torch.linspace(0, 1, overlap, dtype=found.dtype)
    joined[:, start : start + overlap] = (1 - share) * there + share * found[:, :overlap]
    joined[:, start + overlap : start + found.shape[1]] = found[:, overlap:]


def at_mixture_level(separated: Tensor, mixture: Tensor) -> Tensor:
    """Scale sources ``[source, sample]`` to the levels at which their sum comes closest to the mixture ``[sample]``.

    SI-SDR, which the network was trained by, leaves their levels and signs open.
    """
    sounds = nn.functional.normalize(separated.double(), dim=1)
    # of outputs that are nearly the same only the sum has a level
    gains = torch.linalg.pinv(sounds @ sounds.T, rtol=ALIKE, hermitian=True) @ (sounds @ mixture.double())
    return (gains.unsqueeze(1) * sounds).to(separated.dtype)


def _default_segment(network: nn.Module, record: RunRecord, rate: int) -> int:
    return record.shape[-1] if network.spiking_layers() else seconds_to_samples(WHOLE_S, rate)


def _check_names(files: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for file in files:
        if file.stem in seen:
            raise AudioDataError(f"{file}: has the name of {seen[file.stem]}, and so would its outputs; separate it into another folder")
        seen[file.stem] = file


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault(f"--out {out}: can't be made ({error.strerror}); choose another folder") from None


def _mono(file: Path) -> tuple[np.ndarray, int]:
    waveform, rate = decode(file)
    if not np.isfinite(waveform).all():
        raise ClipError("not_finite", f"{file.name}: holds NaN or infinite samples")
    return mix_channels(waveform, 1), rate


def _separate_file(separator: SoundSeparator, file: Path, out: Path, clean: Sequence[Path]) -> SeparatedFile:
    waveform, rate = _mono(file)
    mixture = torch.from_numpy(resample(waveform, rate, separator.sample_rate)[0])
    separated = separator(mixture)
    sources = _clean_sources(clean, file, waveform.shape[1], rate, separator.sample_rate, len(separated)) if clean else None
    if sources is not None:
        separated = ordered(separated[None], matching(separated[None], sources[None]))[0]
    outputs = _write_sounds(out, file, separated.numpy(), separator.sample_rate, waveform.shape[1], rate)
    picture = out / f"{file.stem}.png"
    _write_picture(picture, mixture, separated, sources, separator.sample_rate)
    figures = _figures(separated, sources, mixture) if sources is not None else ()
    return SeparatedFile(file, outputs, picture, waveform.shape[1] / rate, *figures)


def _figures(separated: Tensor, sources: Tensor, mixture: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    reached = si_sdr(separated, sources)
    return tuple(reached.tolist()), tuple((reached - si_sdr(mixture, sources)).tolist())


def _clean_sources(clean: Sequence[Path], file: Path, samples: int, rate: int, wanted_rate: int, count: int) -> Tensor:
    if len(clean) != count:
        raise AudioDataError(f"--clean: expected {count} files, one for each source of {file.name}, got {len(clean)}")
    sounds = []
    for each in clean:
        waveform, its_rate = _mono(each)
        if (waveform.shape[1], its_rate) != (samples, rate):
            found = f"{waveform.shape[1]} samples at {its_rate} Hz"
            raise AudioDataError(f"--clean {each}: has {found}, {file.name} has {samples} at {rate} Hz; clean sources must fit their mixture")
        sounds.append(resample(waveform, rate, wanted_rate)[0])
    sources = torch.from_numpy(np.stack(sounds))
    if not sounding(sources[None])[0]:
        raise AudioDataError(f"--clean: one of {', '.join(each.name for each in clean)} is silent")
    return sources


def _write_sounds(out: Path, file: Path, separated: np.ndarray, from_rate: int, samples: int, rate: int) -> tuple[Path, ...]:
    sounds = fill(resample(separated, from_rate, rate), samples, "zero")
    sounds = sounds / max(1.0, float(np.abs(sounds).max()))  # louder than full scale they would be cut off
    outputs = tuple(out / f"{file.stem}-{number}.flac" for number in range(1, len(sounds) + 1))
    for path, sound in zip(outputs, sounds, strict=True):
        write_flac(path, sound[None], rate)
    return outputs


def _write_picture(path: Path, mixture: Tensor, separated: Tensor, sources: Tensor | None, sample_rate: int) -> None:
    from models.separation_pictures import separation_picture  # matplotlib takes a second to import

    clean = None if sources is None else sources.numpy()
    with replacing(path) as temporary:
        separation_picture(mixture.numpy(), separated.numpy(), sample_rate, clean).savefig(temporary, format="png", dpi=130)
