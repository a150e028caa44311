"""Every function that a Dask worker runs: small records in, small records out.

This is the only place that turns an `AudioDataError` about one input into a result; a bug, and a fault of the machine,
stay exceptions.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from audiodata import assembly, audio, cleaning, sources
from audiodata.download import VideoTask, WantedClip, download_clip
from audiodata.errors import ClipError
from audiodata.existing import ExistingTask, take_in
from audiodata.fingerprint import hash_file
from audiodata.reasons import REASONS
from audiodata.records import ClipRow, ClipSpan, Inspection
from audiodata.resolve import Source, resolve, video_url
from audiodata.shards import ShardRecord
from audiodata.simulation import SimulatedFile, SoundTask
from audiodata.simulation import simulate_sound as simulate_one_sound


class InspectTask(NamedTuple):
    """Clips to inspect, a few dozen at a time so that a task is worth its way."""

    root: str
    kind: str
    clips: tuple[ClipSpan, ...]


def inspect_clips(task: InspectTask) -> list[Inspection]:
    """Read and measure clips; one row a clip, in order."""
    return [sources.inspect(task.kind, Path(task.root), clip)[0] for clip in task.clips]


def build_ahead(draft: assembly.ShardDraft) -> tuple[list[Inspection], ShardRecord | None]:
    """Inspect the clips of a shard and make it in the same pass."""
    return assembly.build_ahead(draft)


def build_shard(task: assembly.ShardTask) -> ShardRecord | ClipError:
    """Make one shard; an input that has changed since it was inspected is the result instead."""
    try:
        return assembly.build_shard(task)
    except ClipError as error:
        return error


def simulate_sound(task: SoundTask) -> list[SimulatedFile]:
    """Place one sound at its azimuths; one row a file, in order, a sound that can't be used having its reason in each."""
    return simulate_one_sound(task)


def download_video(task: VideoTask) -> list[ClipRow]:
    """Resolve a video once and fetch its clips; one row a clip, in order.

    After a refusal that would meet the next clip too (the network, the platform, an address that has expired) the rest
    is not tried: those rows have the same reason and no attempt.
    """
    try:
        source = resolve(video_url(task.options.url_template, task.recording_id), task.options)
    except ClipError as error:
        return [_failed(clip, error) for clip in task.clips]
    rows: list[ClipRow] = []
    for clip in task.clips:
        if rows and REASONS[rows[-1].reason].kind in ("identity", "transient"):
            rows.append(rows[-1]._replace(clip_id=clip.clip_id, attempts=0))
        else:
            rows.append(_fetched(source, clip, task))
    return rows


def _fetched(source: Source, clip: WantedClip, task: VideoTask) -> ClipRow:
    try:
        return _verified(download_clip(source, clip, task.root, task.options), clip, source.described)
    except ClipError as error:
        return _failed(clip, error)


def take_in_file(task: ExistingTask) -> list[ClipRow]:
    """Decode a file that somebody else made and take its clips from it; one row a clip, in order."""
    try:
        waveform, sample_rate = audio.decode(Path(task.file), task.name)
    except ClipError as error:
        return [_failed(clip, error) for clip in task.clips]
    rows = []
    for clip in task.clips:
        try:
            path = take_in(waveform, sample_rate, clip, task)
            rows.append(_verified(path, clip, {})._replace(detail=f"taken from {task.name}"))
        except ClipError as error:
            rows.append(_failed(clip, ClipError(error.reason, f"{task.name}: {error.message}")))
    return rows


def _verified(path: Path, clip: WantedClip, described: dict[str, Any]) -> ClipRow:
    """Read a finished file back: the row's hashes and measurements are those of what is on disk."""
    found = asdict(cleaning.measure(*audio.decode(path, clip.path)))
    content = found.pop("content_sha256")
    return ClipRow(clip.clip_id, "ok", "", "", clip.path, hash_file(path), content, found | described)


def _failed(clip: WantedClip, error: ClipError) -> ClipRow:
    return ClipRow(clip.clip_id, "failed", error.reason, error.message)
