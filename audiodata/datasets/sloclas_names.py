"""What the paths of a SLoClas-like collection tell: class, azimuth, sound and microphone, by regular expressions with named groups."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from audiodata.settings import nearest

GROUPS = ("cls", "azi", "id", "mic")

# <class>/<azimuth>/<sound>.wav, then <class>_<azimuth>_<sound>.wav in any folder; both may end in _mic<number>
_END = r"(?P<id>[^/]+?)(?:_mic(?P<mic>[0-9]+))?[.](?:wav|flac|WAV|FLAC)"
PATTERNS = (
    r"(?:.*/)?(?P<cls>[^/]+)/(?:azi(?:muth)?_?)?(?P<azi>-?[0-9]{1,3}(?:[.][0-9]+)?)(?:deg)?/" + _END,
    r"(?:.*/)?(?P<cls>[^\W\d_][^/]*?)_(?P<azi>-?[0-9]{1,3}(?:[.][0-9]+)?)_" + _END,
)


class SoundName(NamedTuple):
    """What the path of a recording tells; texts are empty where it says nothing.

    Attributes
    ----------
    clip : str
        Path below the data set's folder, with ``*`` for the microphone where each has its own file.
    cls, azimuth, source : str
        Class, azimuth and the sound that was played.
    files : tuple of str
        Its files in the order of the microphones; of microphones that others have, also those that are missing.
    noise : bool
        Fitted by the pattern for noises.
    """

    clip: str
    cls: str
    azimuth: str
    source: str
    files: tuple[str, ...]
    noise: bool


def checked_pattern(pattern: str | None, needed: Sequence[str]) -> str | None:
    """Return a pattern that can be compiled and has the groups that are needed.

    Raises
    ------
    ValueError
        Says what is wrong with it.
    """
    if pattern is None:
        return None
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    for name in groups:
        if name not in GROUPS:
            raise ValueError(f"unknown named group `{name}`{nearest(name, list(GROUPS))}")
    missing = [name for name in needed if name not in groups]
    if missing:
        raise ValueError(f"has no named group `{missing[0]}`; write (?P<{missing[0]}>...) where it stands in a path")
    return pattern


def read_names(files: Sequence[str], patterns: Sequence[str], noise_pattern: str | None = None) -> list[SoundName]:
    """Read class, azimuth and sound out of paths, and put the files of one recording together.

    Parameters
    ----------
    files : sequence of str
        POSIX paths.
    patterns : sequence of str
        The first that fits a whole path counts.
    noise_pattern : str, optional
        Looked at before all others.

    Returns
    -------
    list of SoundName
        One a recording, in the order of their first files; also of files that no pattern fits.
    """
    rules = [_Rule(re.compile(noise_pattern), True)] if noise_pattern else []
    rules += [_Rule(re.compile(pattern), False) for pattern in patterns]
    told = [_told(file, rules) for file in files]
    microphones = sorted({one.microphone for one in told} - {""}, key=lambda name: (len(name), name))
    return [_sound(one, microphones) for one in {one.clip: one for one in told}.values()]


class _Rule(NamedTuple):
    pattern: re.Pattern
    noise: bool


class _Told(NamedTuple):
    """What one file's path tells; `clip` is the path with ``*`` for the microphone, which stands from `at` on."""

    clip: str
    at: int
    microphone: str
    groups: dict[str, str]
    noise: bool


def _told(file: str, rules: Sequence[_Rule]) -> _Told:
    for pattern, noise in rules:
        match = pattern.fullmatch(file)
        if match:
            groups = match.groupdict("")
            microphone = groups.get("mic", "")
            start, end = match.span("mic") if microphone else (len(file), len(file))
            return _Told(f"{file[:start]}{'*' if microphone else ''}{file[end:]}", start, microphone, groups, noise)
    return _Told(file, len(file), "", {}, False)


def _sound(told: _Told, microphones: Sequence[str]) -> SoundName:
    before, after = told.clip[: told.at], told.clip[told.at + 1 :]
    files = tuple(f"{before}{name}{after}" for name in microphones) if told.microphone else (told.clip,)
    return SoundName(told.clip, *(told.groups.get(name, "") for name in ("cls", "azi", "id")), files, told.noise)
