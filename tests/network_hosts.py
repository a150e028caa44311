"""Hosts of a network on one machine, for tests: network namespaces joined by a bridge, each with mounts and a name of its own."""

import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

PREFIX = "audiodata-hosts"
NAMESPACES = Path("/run/netns")
NUMBERS = itertools.count()


def missing():
    """Say why there can be no hosts here; empty where there can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "hosts as network namespaces need root on Linux"
    if lacking := [name for name in ("ip", "nsenter", "unshare", "mount", "hostname", "bash") if shutil.which(name) is None]:
        return f"{', '.join(lacking)} not installed"
    try:
        with network("trial") as one:
            mounted = one.hosts["trial"].run("true", setup="mount -t tmpfs none /mnt")
    except RuntimeError as error:
        return f"no network namespaces here: {error}"
    return "" if mounted.returncode == 0 else f"no mounts of one's own here: {mounted.stderr.strip()}"


def ip(*words):
    """Call ``ip`` and return what it prints."""
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """One host: its address, and how to run something there.

    Its processes see the files of this machine, but for what `setup`, a piece of shell, mounts for them alone.
    """

    def __init__(self, name, address, namespace, switch):
        self.name, self.address, self.namespace, self._switch = name, address, namespace, switch

    def command(self, *words, setup=""):
        """Return the command that runs another on this host; it is one process from beginning to end."""
        script = f'set -e; hostname {self.name}; {setup or "true"}; exec "$@"'
        return ["nsenter", f"--net={NAMESPACES / self.namespace}", "unshare", "--mount", "--uts", "bash", "-c", script, "bash", *map(str, words)]

    def run(self, *words, setup="", **options):
        return subprocess.run(self.command(*words, setup=setup), capture_output=True, text=True, check=False, **options)

    def cut(self):
        """Pull the cable: nothing comes through and nobody is told."""
        ip("-n", self._switch, "link", "set", "dev", self.name, "down")

    def restore(self):
        ip("-n", self._switch, "link", "set", "dev", self.name, "up")


class Network:
    """Hosts by their names."""

    def __init__(self, name):
        self.name, self.hosts = name, {}

    def open(self, names):
        switch = self._namespace("switch")
        ip("-n", switch, "link", "add", "name", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "dev", "bridge", "up")
        for number, name in enumerate(names, start=1):
            self.hosts[name] = self._host(name, f"10.9.0.{number}", switch)

    def _namespace(self, name):
        full = f"{self.name}-{name}"
        ip("netns", "add", full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def _host(self, name, address, switch):
        namespace = self._namespace(name)
        ip("-n", switch, "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("-n", switch, "link", "set", "dev", name, "master", "bridge", "up")
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        return Host(name, address, namespace, switch)


@contextlib.contextmanager
def network(*names):
    """Give a network of hosts with these names, and remove it at the end, whatever happens."""
    remove_left_behind()
    one = Network(f"{PREFIX}-{os.getpid()}-{next(NUMBERS)}")
    try:
        one.open(names)
        yield one
    finally:
        for namespace in _namespaces(rf"{re.escape(one.name)}-.*"):
            _remove(namespace)


def remove_left_behind():
    """Remove the namespaces of test runs that were killed."""
    for namespace in _namespaces(rf"{PREFIX}-\d+-\d+-.*"):
        if not Path(f"/proc/{namespace.removeprefix(PREFIX).split('-')[1]}").exists():
            with contextlib.suppress(RuntimeError):  # another run does the same
                _remove(namespace)


def _remove(namespace):
    """End what still runs in a namespace, and remove it; its interfaces go with it."""
    for pid in map(int, ip("netns", "pids", namespace).split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    ip("netns", "delete", namespace)


def _namespaces(pattern):
    found = sorted(path.name for path in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []
    return [name for name in found if re.fullmatch(pattern, name)]


def seen_at(folder, place):
    """Shell that mounts a folder at another place, and hides it where it is."""
    folder, place = shlex.quote(str(folder)), shlex.quote(str(place))
    return f"mount --bind {folder} {place}; mount -t tmpfs none {folder}"


def own_disk(place, size, taken=0):
    """Shell that mounts a disk of the host's own, part of which is taken; what doesn't fit is left out."""
    place = shlex.quote(str(place))
    return f"mount -t tmpfs -o size={size} none {place}; head -c {taken} /dev/zero > {place}/of-others 2> /dev/null || true"
