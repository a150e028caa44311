"""What a run tells of itself, an event at a time, to whoever listens: a log (`pipelines.logfile`), the summary (`pipelines.summary`), or nobody.

The events and their fields; what is not known is left out or empty:

========== ==================================================================================================================
event      fields
========== ==================================================================================================================
begin      ``command, catalog, fingerprint`` (of the catalog), ``data, out, host, pid, versions`` (name to version)
torn       ``text``: what an earlier run, killed while it wrote, had left of a line
cluster    ``scheduler, dashboard`` (addresses), ``workers`` (there already)
plan       what there is to do, in counts: ``clips`` (by status and reason), ``examples, shards`` of a build; ``clips, videos`` to ask
           for and ``estimated_s`` of a download; ``sounds, files`` of a simulation
joined     ``worker, threads``
left       ``worker``
unfit      ``worker, reason``: it gets no work
paused     ``worker, reason``: it takes no work for the moment
task_done  ``stage`` (the function that did it), ``name`` (of the shard, sound or file; first clip and number of clips), ``worker``,
           ``seconds`` (in the worker), ``attempt``
task_failed  ``stage, name, attempt, reason``; it is tried again or set aside
set_aside  ``stage, name, tries, reason``
video      ``name`` (its id), ``clips`` (id to ``"ok"`` or reason), ``status`` (``pending``: to be asked for again), ``reason``,
           ``seconds``, ``attempt``, ``worker``, ``identity`` (the proxy's host, or this machine)
pause      ``identity, reason, seconds``: the platform refuses, nothing is asked for so long
warning    ``logger, text``
end        ``exit_code, seconds, worker_seconds, done, failed, set_aside`` (pieces of work) and ``error`` (one line)
========== ==================================================================================================================
"""

from collections.abc import Callable, Mapping
from typing import Any

from audiodata.assembly import ShardDraft, ShardTask
from audiodata.existing import ExistingTask
from audiodata.jobs import InspectTask
from audiodata.simulation import SoundTask

Listener = Callable[[str, Mapping[str, Any]], None]


class Journal:
    """Where parts of a run tell what happens.

    Parameters
    ----------
    *listeners : callable
        Given each event's name and fields; with none, telling costs nothing.
    """

    def __init__(self, *listeners: Listener):
        self._listeners = listeners
        self._there: set[str] = set()

    def write(self, event: str, **fields: Any) -> None:
        """Tell an event; names and fields are those listed above."""
        for listener in self._listeners:
            listener(event, fields)

    def see(self, threads: Mapping[str, int]) -> None:
        """Tell which workers have joined and left since the last time; given are those that are there, with their threads."""
        if not self._listeners:
            return
        for worker in sorted(threads.keys() - self._there):
            self.write("joined", worker=worker, threads=threads[worker])
        for worker in sorted(self._there - threads.keys()):
            self.write("left", worker=worker)
        self._there = set(threads)


SILENT = Journal()


def task_name(task: Any) -> str:
    """Name a piece of work in a few words; nothing else of it is told, as it may hold a proxy's password."""
    match task:
        case ShardTask() | ShardDraft():
            return task.file
        case InspectTask(clips=(only,)):
            return only.clip_id
        case InspectTask():
            return f"{task.clips[0].clip_id} and {len(task.clips) - 1} more clips"
        case SoundTask():
            return task.sound.clip_id
        case ExistingTask():
            return task.name
        case str() | int():
            return str(task)
    return type(task).__name__
