"""What every data set keeps to, run over the registry: whoever is added is tested that day."""

import inspect
import subprocess
import sys

import pytest

from audiodata.datasets import DATASETS, dataset_settings, read_clips
from audiodata.errors import AudioDataError, CatalogError
from audiodata.settings import Settings


@pytest.mark.parametrize("name", DATASETS)
class TestEveryDataSet:
    def test_its_module_says_where_it_comes_from(self, name):
        text = inspect.getmodule(DATASETS[name].read_clips).__doc__
        for what in ("Size", "rigin", "aper", "Licence:", "Access:"):
            assert what in text, f"the docstring of {name} has no {what}"

    def test_its_settings_are_frozen_documented_and_have_defaults(self, name):
        settings = DATASETS[name].settings
        assert issubclass(settings, Settings)
        made = settings()
        documented = "\n".join(kind.__doc__ or "" for kind in settings.__mro__)
        for key in type(made).model_fields:
            assert key in documented, f"{name}: {key} is not documented"
        with pytest.raises(ValueError, match="frozen"):
            setattr(made, next(iter(settings.model_fields)), "x")

    def test_its_reader_takes_what_all_readers_take(self, name):
        parameters = inspect.signature(DATASETS[name].read_clips).parameters
        assert list(parameters) == ["settings", "root", "classes", "quality"]

    def test_it_is_summed_up_in_a_line(self, name):
        entry = DATASETS[name]
        assert entry.kind in ("audio", "image", "events")
        assert entry.summary and "\n" not in entry.summary and len(entry.summary) < 120

    def test_an_unknown_key_is_an_error_that_names_it(self, name):
        with pytest.raises(CatalogError, match=rf"\[dataset\] {name}: unknown key `colour`"):
            dataset_settings({"name": name, "colour": "red"})

    def test_an_empty_root_is_explained_in_one_line(self, name, tmp_path):
        with pytest.raises(AudioDataError) as caught:
            read_clips({"name": name}, tmp_path, classes=("Music",))
        assert "\n" not in str(caught.value)
        assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ({"name": "audiset"}, "unknown data set `audiset`; did you mean `audioset`"),
        ({"name": "zzz"}, "known: audioset, folder, idx_images, .*array_folder, dcase2019_part, sloclas"),
        ({}, "unknown data set ``"),
    ],
)
def test_an_unknown_data_set_is_named(dataset, message, tmp_path):
    with pytest.raises(CatalogError, match=message):
        read_clips(dataset, tmp_path)


def test_a_model_will_do_as_well_as_a_mapping(tmp_path):
    class Dataset(Settings):
        name: str = "folder"
        path: str = "sounds"

    (tmp_path / "sounds" / "dog").mkdir(parents=True)
    (tmp_path / "sounds" / "dog" / "a.wav").touch()
    assert read_clips(Dataset(), tmp_path)["label"].tolist() == ["dog"]


def test_so_many_of_each_class_are_read(tmp_path):
    for name in ("a", "b", "c"):
        for label in ("dog", "rain"):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{name}.wav").touch()
    table = read_clips({"name": "folder"}, tmp_path, per_class=2, seed=4)
    assert table["reason"].tolist().count("over_per_class") == 2
    assert table.loc[table["reason"] == "", "label"].value_counts().to_dict() == {"dog": 2, "rain": 2}


def test_reading_lists_loads_nothing_heavy():
    heavy = ("torch", "dask", "librosa", "yt_dlp", "soundfile", "numba", "h5py", "tonic")
    code = f"import sys, audiodata.clips, audiodata.datasets; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
