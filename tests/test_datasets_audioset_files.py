"""Lists are fetched only when asked for, verified before they get their name, and never overwrite what is there."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from made_audioset import CLASSES, published, write_lists, write_ontology

from audiodata.datasets import read_clips
from audiodata.datasets.audioset import AudioSetSettings, fetch_metadata, needed_files
from audiodata.datasets.audioset_files import FILES, SUMS
from audiodata.errors import EnvironmentFault, MetadataError

WEAK = "balanced_train_segments.csv"


@pytest.fixture
def publisher(tmp_path_factory):
    """Serve files on loopback and count what is asked for."""
    files, asked = {}, []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = files.get(self.path.strip("/"))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    folder = tmp_path_factory.mktemp("published")
    files["ontology.json"] = write_ontology(folder).read_bytes()
    files[WEAK] = published().encode()
    files["qa_true_counts.csv"] = b"label_id,num_rated,num_true\n/m/dog,10,9\n"
    yield files, asked, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def settings_for(address, files, checksums=None, **keys):
    """Point at the loopback publisher, and pin what it serves instead of the true files."""
    pinned = {name: hashlib.sha256(files[name]).hexdigest() for name in ("ontology.json", WEAK)}
    sources = {name: f"{address}/{name}" for name in files}
    return AudioSetSettings(segments=(WEAK,), sources=sources, checksums=checksums or pinned, **keys)


def test_missing_lists_are_fetched_and_read(publisher, tmp_path):
    files, asked, address = publisher
    settings = settings_for(address, files, fetch=True)
    table = read_clips({"name": "audioset"} | settings.model_dump(), tmp_path, classes=CLASSES, quality=0.5)
    assert len(table) == 5
    assert sorted(path.name for path in (tmp_path / "metadata").iterdir()) == sorted([*files, SUMS])
    assert len(asked) == 3


def test_nothing_is_fetched_that_is_there_or_was_not_asked_for(publisher, tmp_path):
    files, asked, address = publisher
    write_lists(tmp_path)
    settings = settings_for(address, files, fetch=True)
    assert fetch_metadata(settings, tmp_path) == []
    (tmp_path / WEAK).unlink()
    with pytest.raises(MetadataError, match="fetch = true"):
        read_clips({"name": "audioset", "segments": [WEAK]}, tmp_path, classes=CLASSES)
    assert asked == []
    assert [path.name for path in fetch_metadata(settings, tmp_path)] == [WEAK]
    assert asked == [f"/{WEAK}"]


def test_a_file_with_another_hash_is_refused_and_not_kept(publisher, tmp_path):
    files, _, address = publisher
    settings = settings_for(address, files, checksums={"ontology.json": "0" * 64})
    with pytest.raises(MetadataError, match=r"ontology.json: .* SHA-256 than the expected 0000.*`checksums`") as caught:
        fetch_metadata(settings, tmp_path)
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "metadata").iterdir()) == []


def test_the_first_hash_of_an_unpinned_file_is_noted_and_held_to(publisher, tmp_path):
    files, _, address = publisher
    settings = settings_for(address, files)
    fetch_metadata(settings, tmp_path, quality=0.5)
    noted = (tmp_path / "metadata" / SUMS).read_text()
    assert noted == f"{hashlib.sha256(files['qa_true_counts.csv']).hexdigest()}  qa_true_counts.csv\n"
    files["qa_true_counts.csv"] += b"/m/bell,1,1\n"
    (tmp_path / "metadata" / "qa_true_counts.csv").unlink()
    with pytest.raises(MetadataError, match="another SHA-256"):
        fetch_metadata(settings, tmp_path, quality=0.5)


def test_an_address_that_fails_is_a_fault_of_the_environment(publisher, tmp_path):
    files, _, address = publisher
    settings = settings_for(address, files)
    del files[WEAK]
    with pytest.raises(EnvironmentFault, match=rf"{WEAK}: can't be fetched from {address}.*404"):
        fetch_metadata(settings, tmp_path)


def test_a_list_without_an_address_can_not_be_fetched(tmp_path):
    write_ontology(tmp_path)
    with pytest.raises(MetadataError, match=r"mine.csv: no address is known"):
        fetch_metadata(AudioSetSettings(segments=("mine.csv",)), tmp_path)


@pytest.mark.parametrize(
    ("keys", "quality", "needed"),
    [
        ({}, None, {"ontology.json", "balanced_train_segments.csv", "eval_segments.csv"}),
        ({"segments": ("a.csv",)}, 0.5, {"ontology.json", "a.csv", "qa_true_counts.csv"}),
        ({"strong": ("s.tsv",)}, None, {"ontology.json", "s.tsv", "mid_to_display_name.tsv"}),
        ({"segments": ("a.csv",), "rerated_only": True}, None, {"ontology.json", "a.csv", "rerated_video_ids.txt"}),
    ],
)
def test_a_catalog_needs_only_what_it_uses(keys, quality, needed):
    assert set(needed_files(AudioSetSettings(**keys), quality)) == needed


def test_the_pinned_hashes_are_those_of_the_real_files(shared_data):
    pinned = {name: remote.sha256 for name, remote in FILES.items() if remote.sha256}
    assert len(pinned) == 5
    for name, sha256 in pinned.items():
        assert hashlib.sha256((shared_data / "audioset" / name).read_bytes()).hexdigest() == sha256


def test_every_address_is_encrypted():
    assert all(remote.url.startswith("https://") for remote in FILES.values())
