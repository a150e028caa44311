"""What this machine lets a process have: cores, memory, open files, and a disk of its own."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from audiodata.doctor.finding import Finding
from audiodata.doctor.folders import examine_folder, unwritable

LEAST_GB = 0.6  # of a worker process: half of it is libraries, and workers pause when they are at 80 %
LEAST_FILES = 1024  # of a scheduler with a hundred workers; a worker needs a few dozen
SCRATCH = "AUDIODATA_SCRATCH"  # as `audiodata.shards.scratch` reads it
GB = 1e9
_MEMINFO, _CGROUPS, _OWN_CGROUPS = Path("/proc/meminfo"), Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def examine_node(scratch: str = "") -> list[Finding]:
    """Look at what a worker of this machine may use.

    Parameters
    ----------
    scratch : str
        Folder on its own disk, with variables (``$TMPDIR``); empty: what the variable `AUDIODATA_SCRATCH` says.
    """
    cores = allowed_cores()
    return [_cores(cores), _memory(cores), *_open_files(), *_scratch(scratch)]


def allowed_cores() -> int:
    """Return how many cores this process may run on, or was given by Slurm, which does not enforce it everywhere."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(allowed, int(given)) if given.isdigit() and int(given) else allowed


def _cores(allowed: int) -> Finding:
    return Finding("cores", "ok", f"{allowed} of {os.cpu_count()} may be used")


def _memory(cores: int) -> Finding:
    """Compare the least of all limits with what a worker on each core needs."""
    limits = memory_limits()
    if not limits:
        return Finding("memory", "note", "how much there is can't be seen here")
    where, gigabytes = min(limits.items(), key=lambda limit: limit[1])
    found = f"{gigabytes:.1f} GB ({where})"
    workers = int(gigabytes / LEAST_GB)
    if workers < 1:
        return Finding("memory", "problem", f"{found}; a worker needs {LEAST_GB} GB at least, or it pauses")
    if workers < cores:
        return Finding("memory", "note", f"{found}: enough for {workers} workers of {LEAST_GB} GB, not for one on each of {cores} cores")
    return Finding("memory", "ok", found)


def memory_limits() -> dict[str, float]:
    """Return what limits the memory of this process, in GB, by name: the machine, its control group, Slurm's allocation."""
    limits = {"machine": _machine_gb(), "control group": _cgroup_gb(), "Slurm's allocation": _slurm_gb(os.environ)}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _machine_gb() -> float | None:
    try:
        lines = dict(line.split(":") for line in _MEMINFO.read_text().splitlines())
        return int(lines["MemTotal"].split()[0]) * 1024 / GB
    except (OSError, KeyError, ValueError):
        return None


def _cgroup_gb() -> float | None:
    """Return the least limit of this process's control group and of those above it."""
    limits = [int(text) / GB for path in _limit_files() if (text := _read(path)).isdigit()]
    return min((limit for limit in limits if limit < 1e9), default=None)  # a version 1 that has none says 2 to the 63


def _limit_files() -> Iterator[Path]:
    for line in _read(_OWN_CGROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        base, name = (_CGROUPS, "memory.max") if not controllers else (_CGROUPS / "memory", "memory.limit_in_bytes")
        if controllers in ("", "memory"):
            group = base / path.lstrip("/")
            yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(base))


def _slurm_gb(variables: Mapping[str, str]) -> float | None:
    """Return what a job was given, in GB; Slurm counts in MiB, by node or by core."""
    for name, times in (("SLURM_MEM_PER_NODE", "1"), ("SLURM_MEM_PER_CPU", variables.get("SLURM_CPUS_ON_NODE", "1"))):
        given = variables.get(name, "")
        if given.isdigit() and int(given) and times.isdigit():
            return int(given) * int(times) * 2**20 / GB
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _open_files() -> Iterator[Finding]:
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_FILES:
        yield Finding("open files", "ok", "no limit" if soft == resource.RLIM_INFINITY else f"{soft} at a time")
    else:
        yield Finding("open files", "note", f"{soft} at a time: few for a driver with many workers; ulimit -n {max(hard, LEAST_FILES)}")


def _scratch(wanted: str) -> list[Finding]:
    """Look at a worker's own folder: the one that is said to be it, or the one that might be."""
    named = wanted or os.environ.get(SCRATCH, "")
    folder = os.path.expandvars(named or "$TMPDIR")
    if "$" in folder:
        detail = f"{named}: has no value here" if named else f"neither {SCRATCH} nor TMPDIR is set: shards are made where they will lie"
        return [Finding("scratch", "problem" if named else "missing", detail)]
    if why := unwritable(Path(folder)):
        return [Finding("scratch", "problem", f"{folder}: can't be written to ({why})")]
    findings = examine_folder("scratch", Path(folder), "it takes of the memory of the job")
    return findings if named else [*findings, Finding("scratch", "missing", f"{SCRATCH} is not set, so that is not used; set it to '$TMPDIR'")]
