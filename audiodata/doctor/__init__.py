"""Whether this machine can do its part: packages and programs, the node's limits, and folders that are shared with others.

Imports nothing but the standard library at the top, so that a worker that lacks a package can still be examined.
"""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from audiodata import environment
from audiodata.doctor.finding import Finding
from audiodata.doctor.folders import examine_cache, examine_data
from audiodata.doctor.node import LEAST_GB, examine_node
from audiodata.doctor.packages import examine_packages
from audiodata.worker import Check, problems

__all__ = ["LEAST_GB", "Examination", "Finding", "examine", "examine_worker"]


def examine(data: str = "", out: str = "", scratch: str = "") -> list[Finding]:
    """Look at everything that a part of the project needs.

    Parameters
    ----------
    data, out : str
        Data root and cache to look at; empty: none.
    scratch : str
        A worker's own folder, as `audiodata.shards.scratch.find_scratch` takes it.
    """
    return [*examine_packages(), *_examine_place(data, out, scratch)]


def _examine_place(data: str, out: str, scratch: str) -> list[Finding]:
    findings = examine_node(scratch)
    for subject, folder, look in (("data", data, examine_data), ("cache", out, examine_cache)):
        findings += _examine_folder(subject, Path(folder), look) if folder else []
    return findings


def _examine_folder(subject: str, folder: Path, look: Callable[[Path], list[Finding]]) -> list[Finding]:
    """Look at a folder; a file server that does not answer properly is a finding, too."""
    try:
        return look(folder)
    except OSError as error:
        return [Finding(subject, "problem", f"{folder}: {error.strerror or error}")]


class Examination(NamedTuple):
    """What a worker found out about itself.

    Attributes
    ----------
    host : str
    environment : dict of str to str
        Of `audiodata.environment.describe`.
    findings : list of Finding
        Of its packages only what is a problem.
    """

    host: str
    environment: dict[str, str]
    findings: list[Finding]


def examine_worker(check: Check, scratch: str = "") -> Examination:
    """Look at this machine with the eyes of a worker.

    Parameters
    ----------
    check : Check
        Data root and cache as this worker sees them, and what shows that they are the driver's; its environment is not compared.
    scratch : str
        As of `examine`.
    """
    findings = [finding for finding in examine_packages() if finding.state == "problem"]
    findings += _examine_place(check.root, check.out, scratch)
    findings += [Finding("driver's view", "problem", line) for line in problems(check._replace(environment=()))]
    return Examination(socket.gethostname(), environment.describe(check.packages), findings)
