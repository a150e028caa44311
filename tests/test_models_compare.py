"""Comparison: each network trained or measured once, its figures in one table, settings where they are known."""

import json

import pytest
from model_caches import build_cache, build_located_cache
from model_runs import door, refused

from models.compare import markdown, row_of, table

SMALL = [word for change in ("blocks=1", "width=16", "heads=2", "channels=[4]", "hidden=8") for word in ("--set", change)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return build_located_cache(tmp_path_factory.mktemp("caches") / "cache", {"train": 12, "val": 6, "test": 6})


@pytest.fixture(scope="module")
def compared(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compared") / "out"
    assert door("compare", "spikslcnet-1-64", "gcc_phat_cnn", "srp_phat", "--cache", cache, "--out", folder, "--epochs", "2", *SMALL) == 0
    return folder


def rows(folder):
    return {row["method"]: row for row in json.loads((folder / "comparison.json").read_text())["rows"]}


def test_every_row_states_what_its_run_measured(compared):
    found = rows(compared)
    assert list(found) == ["spikslcnet-1-64", "gcc_phat_cnn", "srp_phat"]
    assert [row["type"] for row in found.values()] == ["SNN", "ANN", "classical"]
    assert [row["time_steps"] for row in found.values()] == [2, 1, None]
    for name, row in found.items():
        metrics = json.loads((compared / name / "metrics.json").read_text())
        assert row["doa_mae_deg"] == metrics["doa"]["mae_deg"]
        assert row["doa_accuracy"] == metrics["doa"]["accuracy"]
        assert (row["accuracy"], row["parameters"]) == (metrics["accuracy"], metrics["parameters"])
        assert row["macs"] == pytest.approx(sum(metrics["operations_per_example"]["macs"].values()))
    assert found["srp_phat"]["accuracy"] is None
    assert found["gcc_phat_cnn"]["synaptic_operations"] == 0 < found["spikslcnet-1-64"]["synaptic_operations"]


def test_settings_go_where_they_are_known(compared):
    settings = {name: json.loads((compared / name / "config.json").read_text()) for name in ("spikslcnet-1-64", "gcc_phat_cnn", "srp_phat")}
    assert settings["spikslcnet-1-64"]["network_settings"]["width"] == 16, "what is given outweighs the preset"
    assert settings["gcc_phat_cnn"]["network_settings"]["hidden"] == 8
    assert all(settings[name]["training_settings"]["epochs"] == 2 for name in ("spikslcnet-1-64", "gcc_phat_cnn"))
    assert "epochs" not in settings["srp_phat"]["training_settings"]


def test_the_table_has_a_line_for_each(compared):
    lines = (compared / "comparison.md").read_text().splitlines()
    head, rule, *cells = [line for line in lines if line.startswith("|")]
    assert len(cells) == 3
    assert {line.count("|") for line in (head, rule, *cells)} == {head.count("|")}
    assert "DoA MAE (deg)" in head
    assert "DoA acc. < 2.5 deg (%)" in head
    assert cells[2].split("|")[1:4] == [" srp_phat        ", " classical ", "          - "]
    assert len({len(line) for line in (head, rule, *cells)}) == 1, "columns stand below each other"


def test_what_has_ended_is_not_trained_again(compared, cache):
    weights = (compared / "gcc_phat_cnn" / "weights.safetensors").stat().st_mtime_ns
    before = (compared / "comparison.json").read_bytes()
    words = ("--cache", cache, "--out", compared, "--epochs", "2", *SMALL)
    assert door("compare", "spikslcnet-1-64", "gcc_phat_cnn", "srp_phat", *words, "--resume") == 0
    assert (compared / "gcc_phat_cnn" / "weights.safetensors").stat().st_mtime_ns == weights
    assert (compared / "comparison.json").read_bytes() == before


def test_a_comparison_is_not_overwritten(compared, cache, capsys):
    capsys.readouterr()
    assert door("compare", "srp_phat", "--cache", cache, "--out", compared) == 2
    assert "--resume" in capsys.readouterr().err


def test_a_setting_that_none_of_them_knows_is_refused(cache, tmp_path, capsys):
    words = ("srp_phat", "gcc_phat_cnn", "--cache", cache, "--out", tmp_path / "out")
    assert "unknown key `time_steps`" in refused(capsys, "compare", *words, "--set", "time_steps=3")
    assert "unknown network `srp`" in refused(capsys, "compare", "srp", *words)
    assert not (tmp_path / "out").exists()


def test_classifying_networks_have_one_accuracy(tmp_path):
    path = build_cache(tmp_path / "cache", sizes={"train": 12, "test": 6})
    words = [word for change in ("channels=[2,2]", "kernels=[3,3]", "hidden=4", "time_steps=2") for word in ("--set", change)]
    assert door("compare", "csnn", "mlp", "--cache", path, "--out", tmp_path / "out", "--epochs", "1", *words) == 0
    columns, cells = table(list(rows(tmp_path / "out").values()))
    assert columns == ["Method", "Type", "Time steps", "Accuracy (%)", "Parameters", "Synaptic operations", "MACs"]
    assert [line[:3] for line in cells] == [["csnn", "SNN", "2"], ["mlp", "ANN", "1"]]


def test_cells_by_hand():
    metrics = {
        "network": "spikslcnet", "time_steps": 2, "accuracy": 0.9933, "parameters": 12345,
        "doa": {"mae_deg": 0.468, "accuracy": {"2.5": 0.9746, "10": 1.0}},
        "operations_per_example": {"synaptic_operations": {"a": 1000.0, "b": 500.0}, "macs": {"c": 20.4}},
    }  # fmt: skip
    row = row_of("spikslcnet-2-128", metrics)
    columns, (cells,) = table([row])
    assert columns[3:7] == ["DoA MAE (deg)", "DoA acc. < 2.5 deg (%)", "DoA acc. < 10 deg (%)", "SEC acc. (%)"]
    assert cells == ["spikslcnet-2-128", "SNN", "2", "0.47", "97.46", "100.00", "99.33", "12,345", "1,500", "20"]
    found = {"cache": {"catalog": "made", "catalog_fingerprint": "f" * 64}, "split": "test", "rows": [row]}
    assert [cell.strip() for cell in markdown(found).splitlines()[-1].strip("|").split("|")] == cells
