"""File systems without file locks, as some clusters have them: a small library makes every lock fail for the programs that it is put before."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from cluster_sets import TOML, hashes, make, write_data

from audiodata.database import WITHOUT_LOCKS, locks_work
from audiodata.lease import Lease
from audiodata.shards import verify_cache

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>

static int refuse(void) { errno = atoi(getenv("NO_LOCKS")); return -1; }
static int is_lock(int command) {
  return command == F_SETLK || command == F_SETLKW || command == F_GETLK || command == F_OFD_SETLK || command == F_OFD_SETLKW;
}
static int pass(const char *name, int file, int command, void *argument) {
  int (*real)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
  return is_lock(command) ? refuse() : real(file, command, argument);
}
#define CALL(name) int name(int file, int command, ...) { \
  va_list list; va_start(list, command); void *argument = va_arg(list, void *); va_end(list); return pass(#name, file, command, argument); }
CALL(fcntl)
CALL(fcntl64)
int flock(int file, int operation) { return refuse(); }
int lockf(int file, int command, off_t size) { return refuse(); }
"""


@pytest.fixture(scope="module")
def lockless(tmp_path_factory):
    """Return what makes the environment of a program one without locks, by the error that tells so."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler on Linux")
    folder = tmp_path_factory.mktemp("library")
    (folder / "locks.c").write_text(LIBRARY)
    words = [compiler, "-shared", "-fPIC", "-o", folder / "locks.so", folder / "locks.c", "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the compiler can't make a library: {done.stderr.strip()[-200:]}")
    return lambda code: {"LD_PRELOAD": str(folder / "locks.so"), "NO_LOCKS": str(code), "OMP_NUM_THREADS": "1"}


def run(environment, *words):
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_locks_work_here_and_are_missed_where_there_are_none(lockless, tmp_path):
    assert locks_work(tmp_path)
    code = f"from pathlib import Path; from audiodata.database import locks_work; print(locks_work(Path({str(tmp_path)!r})))"
    for number in WITHOUT_LOCKS:
        assert run(lockless(number), "-c", code).stdout.strip() == "False"
    assert run(lockless(errno.EACCES), "-c", code).stdout.strip() == "True", "a lock that somebody else holds is a lock"


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_a_build_needs_no_locks(lockless, tmp_path, code):
    data = write_data(tmp_path / "data", per_kind=2)
    (tmp_path / "small.toml").write_text(TOML)
    words = ["-m", "pipelines", "build", tmp_path / "small.toml", "--data", data, "--out", tmp_path / "cache", "--workers", "0"]
    for _ in range(2):
        done = run(lockless(code) | {"AUDIODATA_SCRATCH": str(tmp_path)}, *words)
        assert "cache: " in done.stdout and done.returncode == 1, done.stderr  # two of the made sounds are broken on purpose
    assert run(lockless(code), "-m", "audiodata", "verify", tmp_path / "cache").returncode == 0
    assert hashes(tmp_path / "cache") == hashes(make(data, tmp_path / "reference")) and verify_cache(tmp_path / "cache") == []
    with Lease.beside(tmp_path / "cache"):
        done = run(lockless(code), *words)
    assert done.returncode == 2 and "another run is writing to it (process" in done.stderr and done.stderr.count("\n") == 1


def test_what_was_written_without_locks_is_read_by_others(lockless, tmp_path):
    path = tmp_path / "ledger.sqlite"
    code = (
        "import sys; from audiodata.ledger import Ledger\n"
        f"with Ledger({str(path)!r}) as one:\n"
        "    one.add(['a', 'b'])\n"
        f"    with Ledger({str(path)!r}, read_only=True) as other:\n"
        "        print(other.counts())"
    )
    done = run(lockless(errno.ENOLCK), "-c", code)
    assert done.returncode == 0, done.stderr
    assert "2" in done.stdout
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT clip_id FROM clips").fetchall() == [("a",), ("b",)]
