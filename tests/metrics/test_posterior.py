import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import jaccard_score

from skvardict.metrics import _posterior as module
from skvardict.metrics import gradient_snr, iwae_bound, jaccard_consistency


def test_iwae_rises_from_the_elbo_to_the_evidence_of_a_linear_gaussian_model():
    # z ~ N(0, 1), x | z ~ N(z, 1), so x ~ N(0, 2) and z | x ~ N(x/2, 1/2); q is a wrong posterior
    rng = np.random.default_rng(0)
    x = rng.normal(scale=np.sqrt(2), size=500)
    q = norm(loc=0.3 * x, scale=1.0)
    z = q.rvs(size=(4000, 500), random_state=rng)
    log_weights = norm.logpdf(z) + norm.logpdf(x, loc=z) - q.logpdf(z)
    evidence = norm.logpdf(x, scale=np.sqrt(2)).mean()
    # E_q log p(x, z) - log q in closed form: a quadratic in z with known moments
    elbo = (
        -np.log(2 * np.pi) - ((0.3 * x) ** 2 + 1) / 2 - ((0.7 * x) ** 2 + 1) / 2 + 0.5 * np.log(2 * np.pi) + 0.5
    ).mean()
    assert np.mean([iwae_bound(w[None]) for w in log_weights[:200]]) == pytest.approx(elbo, abs=0.02)
    bounds = [np.mean([iwae_bound(part) for part in log_weights.reshape(-1, k, 500)]) for k in (1, 5, 50)]
    assert bounds[0] < bounds[1] < bounds[2] < evidence + 1e-3
    assert iwae_bound(log_weights) == pytest.approx(evidence, abs=2e-3)
    assert evidence - bounds[0] > 0.1  # the chosen posterior is bad enough for the order to mean something


def test_iwae_survives_weights_beyond_the_range_of_exp():
    assert iwae_bound([[-5000.0], [-5000.0]]) == pytest.approx(-5000)


def test_jaccard_is_the_mean_of_scikit_learns_scores():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(5, 7, 12)) * (rng.uniform(size=(5, 7, 12)) < 0.5)
    codes[:, 0, 0] = 1  # no empty support in the first row
    index = jaccard_consistency(torch.from_numpy(codes))
    for row in range(7):
        pairs = combinations(codes[:, row] != 0, 2)
        assert index[row] == pytest.approx(np.mean([jaccard_score(a, b) for a, b in pairs]))


def test_jaccard_of_many_rows_is_computed_in_blocks(monkeypatch):
    codes = (np.random.default_rng(0).uniform(size=(20, 400, 16)) < 0.2).astype(np.float32)
    whole = jaccard_consistency(codes)
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 7 * 20 * 36)
    tracemalloc.start()
    np.testing.assert_allclose(jaccard_consistency(codes), whole, rtol=1e-12)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < codes.nbytes / 2
    codes[3, 399, 0] = np.inf
    with pytest.raises(ValueError, match="codes contains NaN or infinity"):
        jaccard_consistency(codes)


def test_empty_supports_and_short_atoms_do_not_count():
    codes = np.zeros((3, 2, 4))
    codes[0, 1, 0] = codes[1, 1, 0] = codes[2, 1, 1] = 1
    codes[:, :, 3] = 1  # always on, but its atom is short
    atoms = np.eye(4)
    atoms[3] *= 0.3
    index = jaccard_consistency(codes, atoms)
    assert np.isnan(index[0])
    assert index[1] == pytest.approx(1 / 3)
    assert jaccard_consistency(codes).tolist() != index.tolist()


def test_independent_supports_have_the_index_of_chance():
    p = 0.2
    codes = np.random.default_rng(0).uniform(size=(10, 20, 2000)) < p
    assert jaccard_consistency(codes).mean() == pytest.approx(p / (2 - p), rel=0.02)


@pytest.mark.parametrize(
    ("codes", "components", "message"),
    [
        (np.ones((1, 2, 3)), None, "at least two draws"),
        (np.ones((2, 3)), None, r"\(n_draws, n_samples, n_components\)"),
        (np.ones((2, 2, 3)), np.ones((4, 5)), "4 rows and codes 3 components"),
    ],
)
def test_unfit_draws_are_named(codes, components, message):
    with pytest.raises(ValueError, match=message):
        jaccard_consistency(codes, components)


def test_gradient_snr_of_a_linear_loss_is_that_of_its_coefficients():
    coefficients = torch.from_numpy(np.random.default_rng(0).normal(loc=3, size=(50, 4)))
    weight = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    other = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    draws = iter(coefficients)
    ratios = gradient_snr(lambda: (next(draws) * weight).sum(), {"one": [weight], "other": [other]}, n_draws=50)
    expected = np.mean(np.abs(coefficients.numpy().mean(0)) / coefficients.numpy().std(0, ddof=1))
    assert ratios["one"] == pytest.approx(expected, rel=1e-12)
    draws = iter(coefficients)
    every = gradient_snr(lambda: (next(draws) * weight).sum(), {"one": [weight]}, n_draws=50, reduction=None)["one"]
    draws = iter(coefficients)
    middle = gradient_snr(lambda: (next(draws) * weight).sum(), {"one": [weight]}, n_draws=50, reduction="median")
    assert every.shape == (4,)
    assert ratios["one"] == pytest.approx(every.mean())
    assert middle["one"] == np.median(every)
    assert np.isnan(ratios["other"])
    assert weight.grad is None


def test_gradient_snr_does_not_cancel_in_single_precision():
    weight = torch.zeros(1, requires_grad=True)
    draws = iter(1000 + torch.from_numpy(np.random.default_rng(0).normal(scale=0.5, size=400)).float())
    ratio = gradient_snr(lambda: next(draws) * weight.sum(), {"all": [weight]}, n_draws=400)["all"]
    assert ratio == pytest.approx(1000 / 0.5, rel=0.1)


def test_noise_alone_has_the_stated_ratio():
    weight = torch.zeros(20000, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    ratio = gradient_snr(lambda: (torch.randn(20000, generator=generator) * weight).sum(), {"w": [weight]}, n_draws=50)
    assert ratio["w"] == pytest.approx(np.sqrt(2 / np.pi / 50), rel=0.05)


def test_parameters_without_noise_are_left_out():
    weight = torch.zeros(2, requires_grad=True)
    draws = iter([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0])])
    assert gradient_snr(lambda: (next(draws) * weight).sum(), {"all": [weight]}, n_draws=2)["all"] == pytest.approx(
        2**0.5
    )


def test_one_draw_has_no_deviation():
    with pytest.raises(ValueError, match="n_draws >= 2, but got 1"):
        gradient_snr(lambda: torch.zeros(()), {}, n_draws=1)
    with pytest.raises(ValueError, match="reduction='max'"):
        gradient_snr(lambda: torch.zeros(()), {}, reduction="max")
