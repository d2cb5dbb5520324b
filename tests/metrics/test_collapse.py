import numpy as np
import pytest
import torch

from skvardict.metrics import active_components, feature_collapse, posterior_collapse


@pytest.fixture
def values():
    """Component j exceeds .01 on j of 20 rows."""
    return np.tril(np.ones((20, 20)), -1)[::-1].T * np.where(np.arange(20) % 2, 1.0, -1.0)


@pytest.mark.parametrize("metric", [posterior_collapse, feature_collapse])
def test_components_above_the_tolerance_on_too_many_rows_have_not_collapsed(metric, values):
    n_above = (np.abs(values) > 0.01).sum(0)
    for share in (0.95, 0.5, 1.0):
        expected = np.mean(n_above <= round(20 * (1 - share)))
        assert metric(np.abs(values), share=share) == expected
    assert metric(np.abs(values), tol=1.0) == 1
    assert metric(torch.from_numpy(np.abs(values))) == metric(np.abs(values))


def test_the_sign_of_a_code_does_not_matter(values):
    assert feature_collapse(values) == feature_collapse(np.abs(values))


def test_each_criterion_compares_its_statistic():
    rng = np.random.default_rng(0)
    values = rng.normal(scale=np.linspace(0.01, 1, 50), size=(3000, 50))
    expected = {
        "max": np.abs(values).max(0) > 0.5,
        "quantile": np.sort(np.abs(values), axis=0)[int(0.999 * 2999)] > 0.5,
        "std": np.sqrt(((values - values.mean(0)) ** 2).mean(0)) > 0.5,
        "variance": (values**2).mean(0) - values.mean(0) ** 2 > 0.01,
    }
    for criterion, mask in expected.items():
        assert 0 < mask.sum() < 50
        differing = active_components(values, criterion=criterion) != mask
        assert differing.sum() <= (criterion == "quantile")  # the oracle takes a row, the quantile lies between two
    kl = np.column_stack([np.full(10, 0.05), np.linspace(0, 0.4, 10)])
    assert active_components(kl, criterion="kl").tolist() == [False, True]
    assert active_components(kl, criterion="kl", threshold=0.01).tolist() == [True, True]


def test_unfit_input_is_named(values):
    with pytest.raises(ValueError, match=r"share in \(0, 1\], but got 0"):
        posterior_collapse(values, share=0)
    with pytest.raises(ValueError, match="criterion='mean'"):
        active_components(values, criterion="mean")
    with pytest.raises(ValueError, match=r"expects kl of shape \(n_samples, n_components\)"):
        posterior_collapse(np.zeros((0, 3)))
