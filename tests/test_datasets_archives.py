"""Archives beside the folder that they hold: whole, split, damaged, hostile."""

import os
import shutil
import stat
import subprocess
import zipfile

import pytest

from audiodata.datasets.archives import unpack_missing
from audiodata.errors import EnvironmentFault, MetadataError

FILES = {"mic_dev/a.wav": b"a" * 50, "mic_dev/b.WAV": b"b" * 70}
needs_zip = pytest.mark.skipif(shutil.which("zip") is None, reason="no `zip` here")


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_split(root, files=12, size=20_000):
    """Write an archive in parts of 64 KiB, the least that `zip` makes, as mic_dev.z01, ..., mic_dev.zip.

    As in the published ones a file is shorter than a part: `zip` 3.0 garbles files that lie in three parts when it joins them.
    """
    source = root / "source" / "mic_dev"
    source.mkdir(parents=True)
    made = {f"{number}.wav": os.urandom(size) for number in range(files)}
    for name, content in made.items():
        (source / name).write_bytes(content)
    command = ["zip", "-q", "-r", "-s", "64k", str(root / "mic_dev.zip"), "mic_dev"]
    subprocess.run(command, cwd=root / "source", check=True, capture_output=True)
    shutil.rmtree(root / "source")
    assert (root / "mic_dev.z01").is_file()
    return made


def test_a_whole_archive_becomes_a_folder(tmp_path):
    write_zip(tmp_path / "mic_dev.zip", FILES | {"mic_dev/readme.md": b"x", "__MACOSX/mic_dev/._a.wav": b"x"})
    assert unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == {"a.wav": b"a" * 50, "b.WAV": b"b" * 70}
    assert names(tmp_path) == ["mic_dev", "mic_dev.zip"]
    assert stat.S_IMODE((tmp_path / "mic_dev").stat().st_mode) == 0o755


@pytest.mark.parametrize("inside", ["", "proj/dataset/mic_dev/", "mic_dev\\"])
def test_files_may_lie_anywhere_inside(tmp_path, inside):
    write_zip(tmp_path / "mic_dev.zip", {f"{inside}a.wav": b"1"})
    unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == {"a.wav": b"1"}


def test_what_is_there_is_left_alone(tmp_path):
    write_zip(tmp_path / "mic_dev.zip", FILES)
    (tmp_path / "mic_dev").mkdir()
    assert not unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert not unpack_missing(tmp_path / "foa_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == {}


@pytest.mark.parametrize("name", ["../../evil.wav", "/tmp/evil.wav", "..\\..\\evil.wav", "C:\\evil.wav", "mic_dev/../../evil.wav"])
def test_no_path_leads_out(tmp_path, name):
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    write_zip(root / "mic_dev.zip", {name: b"x"})
    unpack_missing(root / "mic_dev", (".wav",))
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.wav")]
    assert found == ["deep/root/mic_dev/evil.wav"]


def test_links_are_not_followed_nor_made(tmp_path):
    (tmp_path / "secret").write_text("x")
    with zipfile.ZipFile(tmp_path / "mic_dev.zip", "w") as archive:
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "../secret")
        archive.writestr("a.wav", b"1")
    unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == {"a.wav": b"1"}


@pytest.mark.parametrize(("files", "message"), [
    ({"x/a.wav": b"1", "y/a.wav": b"2"}, "can't place 'y/a.wav'.* 'x/a.wav' has it too"),
    ({"a\nb.wav": b"1"}, "not fit for a file"),
    ({"a.csv": b"1"}, "holds no .wav files; is it the right archive"),
])
def test_odd_contents_are_one_line_and_leave_nothing(tmp_path, files, message):
    write_zip(tmp_path / "mic_dev.zip", files)
    with pytest.raises(MetadataError, match=message) as caught:
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["mic_dev.zip"]


@pytest.mark.parametrize("damage", ["cut", "flip", "none"])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(tmp_path, damage):
    path = write_zip(tmp_path / "mic_dev.zip", {"a.wav": os.urandom(5000)})
    data = bytearray(path.read_bytes())
    data[2000] ^= 255
    path.write_bytes({"cut": bytes(data[:3000]), "flip": bytes(data), "none": b"<html>"}[damage])
    with pytest.raises(MetadataError, match=r"mic_dev\.zip: damaged") as caught:
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["mic_dev.zip"]


@needs_zip
def test_a_split_archive_is_joined(tmp_path):
    made = write_split(tmp_path)
    before = contents(tmp_path)
    assert unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == made
    assert {path.name: path.read_bytes() for path in tmp_path.glob("mic_dev.z*")} == before


@needs_zip
def test_a_join_that_went_wrong_is_noticed(tmp_path, monkeypatch):
    write_split(tmp_path)
    program = tmp_path / "broken" / "zip"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nhead -c 9000 "$4" > "$6"\n')
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "zip" else None)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    with pytest.raises(MetadataError, match=r"/mic_dev\.zip: damaged"):
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert all(name.startswith("mic_dev.z") for name in names(tmp_path) if name != "broken")


@needs_zip
def test_a_part_that_is_missing_is_one_line(tmp_path):
    write_split(tmp_path)
    (tmp_path / "mic_dev.z02").unlink()
    before = names(tmp_path)
    with pytest.raises(MetadataError, match=r"mic_dev.zip: zip can't read it .*are all its parts there") as caught:
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before
    for part in tmp_path.glob("mic_dev.z0*"):
        part.unlink()
    with pytest.raises(MetadataError, match=r"without its first parts \(.z01"):
        unpack_missing(tmp_path / "mic_dev", (".wav",))


@needs_zip
def test_without_a_program_the_command_is_told(tmp_path, monkeypatch):
    write_split(tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"is split \(mic_dev.z01, .*zip -s 0 mic_dev.zip --out whole.zip") as caught:
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert "\n" not in str(caught.value)
    assert not [name for name in names(tmp_path) if not name.startswith("mic_dev.z")]


@needs_zip
def test_seven_zip_will_do(tmp_path, monkeypatch):
    """Stand in for 7z: a program that is called as it is, and unpacks into the folder that it is given."""
    made = write_split(tmp_path)
    program = tmp_path / "bin" / "7z"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\n[ "$1" = x ] && into="${4#-o}"\nzip -q -s 0 "$5" --out "$into/w.zip"\n'
        'unzip -q "$into/w.zip" -d "$into" && rm "$into/w.zip"\n'
        'ln -s /etc/passwd "$into/link.wav"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "7z" else None)
    assert unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert contents(tmp_path / "mic_dev") == made


def test_a_folder_that_cannot_be_written_to_is_one_line(tmp_path, monkeypatch):
    write_zip(tmp_path / "mic_dev.zip", FILES)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(EnvironmentFault, match=r"mic_dev: can't be unpacked \(No space left on device\)"):
        unpack_missing(tmp_path / "mic_dev", (".wav",))
    assert names(tmp_path) == ["mic_dev.zip"]
