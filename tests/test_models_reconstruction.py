"""Reconstruction: errors by hand, whole runs by the door, with examples that have no class, pictures, refusals."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from model_caches import build_cache
from model_runs import door, refused

from models.compare import row_of, table
from models.evaluation import evaluate_run, load_network, twin_of
from models.reconstruction import Reconstructing, Reconstruction
from models.reconstruction_pictures import reconstruction_pairs
from models.runs import check_same, read_record, save_weights, write_record
from models.tandem import ConversionConfig, conversion_record, convert
from models.views import open_source


def test_errors_by_hand():
    task = Reconstructing()
    wanted = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 0.0]])
    values = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.5]])
    assert task.loss(Reconstruction(values, wanted), {}).item() == pytest.approx((1 + 0 + 0.25 + 0.25) / 6)
    tally = task.tally(())
    for rows in (slice(0, 2), slice(2, 3)):
        tally.add(Reconstruction(values[rows], wanted[rows]), {})
    found = tally.summary()
    assert tally.predictions() == {"mse": [0.5, 0.0, 0.25]}
    assert found["examples"] == 3
    assert found["mse"] == found["loss"] == pytest.approx(0.25)
    assert found["mse_of_mean"] == pytest.approx(np.mean([np.var([0, 1, 0.5]), np.var([1, 1, 0])]))


def test_the_mean_over_batches_of_any_size_is_that_over_examples():
    generator = torch.Generator().manual_seed(0)
    values, wanted = torch.rand(2, 23, 1, 4, 4, generator=generator)
    tally = Reconstructing().tally(())
    for rows in torch.arange(23).split(7):
        tally.add(Reconstruction(values[rows], wanted[rows]), {})
    assert tally.summary()["mse"] == pytest.approx((values - wanted).square().mean().item(), rel=1e-6)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_cache(tmp_path_factory.mktemp("caches") / "images", feature="image", sizes={"train": 36, "val": 6, "test": 9}, unlabelled=3)


SMALL = [word for change in ("hidden=[12]", "batch_size=8", "learning_rate=0.02") for word in ("--set", change)]


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    assert door("train", "autoencoder", "--cache", cache, "--out", run, "--epochs", "15", *SMALL) == 0
    return run


def metrics(run):
    return json.loads((run / "metrics.json").read_text())


def test_it_learns_from_all_examples_with_or_without_a_class(finished, cache):
    found = metrics(finished)
    assert found["examples"] == 12, "nine with a class and three without"
    assert found["mse"] < 0.5 * found["mse_of_mean"]
    assert "accuracy" not in found
    assert read_record(finished).classes == ()
    assert open_source(cache, labelled=False).examples_in("train") == 39


def test_a_run_leaves_errors_and_a_picture(finished):
    table = pd.read_csv(finished / "predictions.csv")
    assert list(table) == ["example_id", "mse"]
    assert table["mse"].mean() == pytest.approx(metrics(finished)["mse"])
    assert (finished / "reconstructions.png").read_bytes()[:4] == b"\x89PNG"
    curves = pd.read_csv(finished / "curves.csv")
    assert curves["learning_rate"].iloc[0] == pytest.approx(10 * curves["learning_rate"].iloc[-1])
    assert curves["val_mse"].iloc[-1] < curves["val_mse"].iloc[0]


def test_a_network_without_classes_fits_a_cache_with_others(finished, tmp_path, monkeypatch):
    import model_caches

    monkeypatch.setattr(model_caches, "CLASSES", ["a", "b", "c"])
    run = shutil.copytree(finished, tmp_path / "run")
    assert evaluate_run(run, build_cache(tmp_path / "cache", feature="image", sizes={"test": 3}))["examples"] == 3


def test_evaluating_writes_the_same_again(finished, cache):
    names = ("metrics.json", "predictions.csv", "reconstructions.png")
    before = [(finished / name).read_bytes() for name in names]
    assert door("evaluate", finished, "--cache", cache) == 0
    assert [(finished / name).read_bytes() for name in names] == before


def test_a_picture_has_two_places_for_each_example():
    figure = reconstruction_pairs(np.zeros((7, 1, 4, 5)), np.ones((7, 1, 4, 5)))
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(figure.axes) == 20
    assert [axes.images[0].get_array().max() for axes in drawn] == [0, 1] * 7
    colour = reconstruction_pairs(np.zeros((1, 3, 4, 5)), np.ones((1, 3, 4, 5)))
    assert colour.axes[0].images[0].get_array().shape == (4, 5, 3)


def test_sounds_can_be_reconstructed_too(tmp_path):
    path = build_cache(tmp_path / "cache", sizes={"train": 6, "test": 3})
    assert door("train", "autoencoder", "--cache", path, "--out", tmp_path / "run", "--epochs", "1", *SMALL) == 0
    assert metrics(tmp_path / "run")["feature"] == "mfcc"


def test_wrong_features_are_refused(cache, tmp_path, capsys):
    words = ("train", "autoencoder", "--cache", cache, "--out", tmp_path / "run")
    assert "did you mean `image`" in refused(capsys, *words, "--set", "feature=images")
    assert "unknown key `augment`" in refused(capsys, *words, "--set", "augment=3")


def test_noise_on_sounds_is_not_measured_so(finished, cache, tmp_path, capsys):
    from models.conditions import open_entries

    with pytest.raises(Exception, match="`autoencoder`, a network for reconstruction"):
        open_entries([finished], cache)


def test_a_table_of_reconstructions_has_their_error(finished):
    columns, (cells,) = table([row_of("autoencoder", metrics(finished))])
    assert columns == ["Method", "Type", "Time steps", "MSE", "Parameters", "Synaptic operations", "MACs"]
    assert cells[3] == f"{metrics(finished)['mse']:.5f}"


def test_networks_of_several_tasks_leave_gaps_in_one_table(cache, tmp_path):
    words = (*SMALL[:2], "--set", "width=0.1", "--epochs", "1")
    assert door("compare", "mnist_cnn", "autoencoder", "--cache", cache, "--out", tmp_path / "out", *words) == 0
    columns, cells = table(json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"])
    assert columns[3:5] == ["Accuracy (%)", "MSE"]
    assert [row[3 + place] for place, row in enumerate(reversed(cells))] == ["-", "-"]


def test_repeats_have_their_error_too(cache, tmp_path):
    words = (*SMALL, "--epochs", "1", "--seeds", "2")
    assert door("repeat", "autoencoder", "--cache", cache, "--out", tmp_path / "out", *words) == 0
    (row,) = json.loads((tmp_path / "out" / "repeats.json").read_text())["rows"]
    assert row["figures"]["mse"]["best"] == min(row["figures"]["mse"]["values"])
    assert f"{row['figures']['mse']['mean']:.5f}" in (tmp_path / "out" / "repeats.md").read_text()


@pytest.fixture(scope="module")
def converted(finished, cache, tmp_path_factory):
    """Return a converted run, as a command writes one."""
    run = tmp_path_factory.mktemp("runs") / "converted"
    network, record = load_network(finished)
    features = torch.rand(30, *record.shape, generator=torch.Generator().manual_seed(0))
    config = ConversionConfig(time_steps=8, weight_bits=8)
    spiking = convert(network, features, config)
    write_record(run, record._replace(conversion=conversion_record(config, spiking, "primitive")))
    save_weights(run, spiking)
    return run, spiking, features


def test_a_converted_run_is_loaded_as_it_was(converted):
    run, spiking, features = converted
    network, record = load_network(run)
    assert record.conversion["time_steps"] == 8
    with torch.no_grad():
        assert torch.equal(network(features).values, spiking(features).values)


def test_a_converted_run_is_measured_beside_the_network_it_came_from(converted, finished, cache):
    run, _, _ = converted
    found = evaluate_run(run, cache)
    ann = metrics(finished)
    assert found["time_steps"] == 8
    assert found["conversion"]["method"] == "primitive"
    assert found["twin"]["macs"] == ann["operations_per_example"]["macs"]
    assert found["twin"]["parameters"] == ann["parameters"]
    assert found["mse"] != ann["mse"]
    assert found["operations_per_example"]["synaptic_operations_total"] > 0
    assert (run / "activity.npz").is_file()
    assert row_of("converted", found)["type"] == "SNN"
    assert type(twin_of(read_record(run))).__name__ == "Autoencoder"


def test_a_converted_run_is_not_trained_on_as_if_it_were_none(converted, finished, cache, capsys):
    run, _, _ = converted
    message = refused(capsys, "train", "autoencoder", "--cache", cache, "--out", run, "--resume", "--epochs", "15", *SMALL)
    assert "holds a converted network" in message
    with pytest.raises(Exception, match="as it was trained, not a converted"):
        check_same(finished, read_record(finished), read_record(run))


def test_runs_without_a_conversion_are_written_as_before(finished):
    assert "conversion" not in json.loads((finished / "config.json").read_text())
    assert read_record(finished).conversion is None
