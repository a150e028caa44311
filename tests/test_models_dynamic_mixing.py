"""Mixtures made anew: reproducible, of different speakers, at the ratio drawn, from the training split alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mixture_caches import BANDS, SAMPLES, build_mixtures

from audiodata.errors import CacheError
from models.data import Examples, load_data, make_loader
from models.dynamic_mixing import DynamicMixing, mixed, speakers_in
from models.training_config import SeparationTraining
from models.views import open_mixture_source


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_mixture_source(build_mixtures(tmp_path_factory.mktemp("mixtures") / "cache"))


@pytest.fixture(scope="module")
def mixing(source):
    plain = Examples(source, "train", seed=5)
    return DynamicMixing(plain, speakers_in(plain), (0.0, 5.0))


def test_no_mixture_has_a_speaker_twice(mixing):
    for epoch in range(4):
        for position in range(len(mixing)):
            chosen, _ = mixing.draw(epoch, position)
            first, second = (mixing.speakers[place] for place in chosen)
            assert chosen[0][0] == position and first != second


def test_three_speakers_are_three_people(tmp_path):
    plain = Examples(open_mixture_source(build_mixtures(tmp_path / "cache", {"train": 6}, speakers=3)), "train")
    mixing = DynamicMixing(plain, speakers_in(plain), (0.0, 5.0))
    for position in range(6):
        chosen, ratios_db = mixing.draw(1, position)
        assert len({int(mixing.speakers[place]) for place in chosen}) == 3 and ratios_db.shape == (3,)


def test_the_same_seed_epoch_and_position_give_the_same_mixture(source, mixing):
    again = DynamicMixing(Examples(source, "train", seed=5), speakers_in(mixing.examples), (0.0, 5.0))
    keys = [(3, 7), (3, 0), (2, 7)]
    batch, alone = mixing.__getitems__(keys), again[(3, 0)]
    assert torch.equal(batch.features, again.__getitems__(keys).features)
    assert torch.equal(batch.features[1], alone.features[0]) and torch.equal(batch.targets["sources"][1], alone.targets["sources"][0])
    assert not torch.equal(batch.features[0], batch.features[2])


def test_partners_and_ratios_differ_from_epoch_to_epoch_and_seed_to_seed(source, mixing):
    drawn = [mixing.draw(epoch, 0) for epoch in range(12)]
    assert len({chosen[1] for chosen, _ in drawn}) > 4 and {chosen[0][1] for chosen, _ in drawn} == {0, 1}
    ratios_db = torch.stack([ratios_db[1] for _, ratios_db in drawn])
    assert (ratios_db.abs() <= 5).all() and (ratios_db > 0).any() and (ratios_db < 0).any() and len(ratios_db.unique()) == 12
    other = DynamicMixing(Examples(source, "train", seed=6), speakers_in(mixing.examples), (0.0, 5.0))
    assert any(other.draw(epoch, 0)[0] != mixing.draw(epoch, 0)[0] for epoch in range(12))


def test_sources_are_those_of_the_split_and_their_sum_is_the_mixture(mixing):
    batch = mixing.__getitems__([(0, position) for position in range(len(mixing))])
    sources = batch.targets["sources"]
    assert batch.features.shape == (12, 1, SAMPLES) and sources.shape == (12, 2, SAMPLES)
    assert torch.allclose(batch.features[:, 0], sources.sum(1), atol=1e-6)
    cached = mixing.read(range(12)).targets["sources"].flatten(0, 1)
    alike = torch.nn.functional.normalize(sources.flatten(0, 1), dim=1) @ torch.nn.functional.normalize(cached, dim=1).T
    assert (alike.amax(1) > 0.9999).all()


@given(st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 100))
def test_levels_have_the_ratio_drawn(second_db, third_db, seed):
    sources = torch.randn(1, 3, 200, generator=torch.Generator().manual_seed(seed)) * torch.tensor([0.01, 0.5, 0.1]).view(1, 3, 1)
    mixture, scaled = mixed(sources, torch.tensor([[0.0, second_db, third_db]]))
    level_db = 10 * scaled.square().mean(-1).log10()[0]
    assert (level_db[0] - level_db[1:]).tolist() == pytest.approx([second_db, third_db], abs=1e-3)
    assert torch.allclose(mixture[0, 0], scaled[0].sum(0)) and mixture.abs().max() <= 1 + 1e-6


def test_silence_is_left_as_it_is():
    sources = torch.stack([torch.randn(50), torch.zeros(50)])[None]
    mixture, scaled = mixed(sources, torch.tensor([[0.0, 3.0]]))
    assert scaled.isfinite().all() and not scaled[0, 1].any() and mixture.isfinite().all()


def test_training_takes_it_and_validation_does_not(source):
    data = load_data(source, SeparationTraining(mixing="dynamic", batch_size=4, seed=5), [])
    assert isinstance(data.train.dataset, DynamicMixing) and isinstance(data.val.dataset, Examples)
    data.train.sampler.set_epoch(2)
    seen = list(data.train)
    assert sum(batch.examples for batch in seen) == 12
    loader = make_loader(data.train.dataset, 4, shuffle=True, workers=0)
    loader.sampler.set_epoch(2)
    assert all(torch.equal(first.features, second.features) for first, second in zip(seen, loader, strict=True))


def test_a_cache_that_does_not_say_who_speaks_is_refused(source):
    plain = Examples(source, "train")
    plain.column = lambda name: ["anna"] * len(plain)
    with pytest.raises(CacheError, match="has 2 sources, its `labels` say anna; mixing=dynamic needs each one's speaker"):
        speakers_in(plain)
    with pytest.raises(CacheError, match="at least 2 speakers in the training split, found 1"):
        DynamicMixing(plain, [["anna", "anna"]] * len(plain), (0.0, 5.0))
    assert set(BANDS) == {name for each in speakers_in(Examples(source, "train")) for name in each}
