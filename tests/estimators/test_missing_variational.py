"""Variational models and rows with missing entries, NaN: the likelihood of the observed ones."""

import numpy as np
import pytest
import torch

import skvardict
from skvardict import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC
from skvardict.datasets import make_sparse_coded_signals
from skvardict.estimators._together import why_alone
from skvardict.networks import MLP
from skvardict.training import Adam, OnlineUpdate

QUICK = {"n_components": 12, "max_iter": 3, "random_state": 0, "encoder": MLP((16,))}
MODELS = {
    "SVAE": lambda **kw: SparseVAE(**QUICK, **kw),
    "SVAE, by draws": lambda **kw: SparseVAE(expectation="draws", n_draws=2, **QUICK, **kw),
    "SVAE, online": lambda **kw: SparseVAE(optimizer=OnlineUpdate(), **QUICK, **kw),
    "SVAE, learnt noise": lambda **kw: SparseVAE(kl_weight="auto", **QUICK, **kw),
    "SVAE, MLP decoder": lambda **kw: SparseVAE(decoder=MLP((9,)), atom_norm=None, n_draws=2, **QUICK, **kw),
    "SVAE, Cauchy": lambda **kw: SparseVAE(prior="cauchy", n_draws=3, draw_reduction="max", **QUICK, **kw),
    "thresholded": lambda **kw: ThresholdedVSC(n_draws=4, **QUICK, **kw),
    "thresholded, by draws": lambda **kw: ThresholdedVSC(expectation="draws", n_draws=4, **QUICK, **kw),
    "thresholded, weighted": lambda **kw: ThresholdedVSC(n_draws=3, draw_reduction="iwae", **QUICK, **kw),
    "spike and slab": lambda **kw: SpikeAndSlabVSC(**QUICK, **kw),
    "spike and slab, aggregate": lambda **kw: SpikeAndSlabVSC(divergence="aggregate", kl_weight="auto", **QUICK, **kw),
}

pytestmark = pytest.mark.filterwarnings("ignore:.*the solver did not converge")


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(120, 16))


@pytest.fixture(scope="module")
def X_missing(X):
    return np.where(np.random.default_rng(1).uniform(size=X.shape) < 0.25, np.nan, X)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_nothing_is_missing_all_is_as_without_masks(name, dtype, X):
    X = X.astype(dtype)
    masked, plain = (MODELS[name](missing=missing).fit(X, X_val=X[:40]) for missing in ("mask", "error"))
    for key, array in plain.params_.items():
        np.testing.assert_array_equal(masked.params_[key], array, err_msg=key)
    np.testing.assert_array_equal(masked.transform(X), plain.transform(X))
    np.testing.assert_array_equal(masked.elbo(X, 3, random_state=0), plain.elbo(X, 3, random_state=0))
    np.testing.assert_array_equal(masked.iwae(X, 3, random_state=0), plain.iwae(X, 3, random_state=0))
    assert masked.score(X) == plain.score(X)
    assert masked.energy(X) == plain.energy(X)
    for history in (masked.history_, plain.history_):
        history.pop("seconds")
    assert masked.history_ == plain.history_


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_with_missing_entries_gives_whole_rows(name, X_missing):
    model = MODELS[name](missing="mask").fit(X_missing, X_val=X_missing[:40])
    assert np.isfinite(model.history_["validation_r2"]).all()
    assert np.isfinite(model.history_["energy"]).all()
    assert np.isfinite(model.reconstruct(X_missing)).all()
    assert np.isfinite(model.score(X_missing))
    assert np.isfinite(model.iwae(X_missing, 5, random_state=0)).all()
    observed = ~np.isnan(X_missing)
    if hasattr(model, "params_") and "decoder.offset" in model.params_:
        np.testing.assert_allclose(model.mean_, np.nanmean(X_missing, 0), rtol=1e-5)
    squares = np.where(observed, X_missing - model.reconstruct(X_missing), 0) ** 2
    np.testing.assert_allclose(model.reconstruction_error(X_missing), squares.sum(1) / observed.sum(1), rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_what_stands_in_missing_places_moves_nothing(name, X, X_missing):
    """The loss has no gradient there: neither an entry of a row nor that of its reconstruction."""
    fit = MODELS[name](missing="mask").fit(X_missing)
    model = fit._build_model(X.shape[1], torch.Generator().manual_seed(0))
    objective = fit._build_objective(model, len(X), fit._plan(len(X)))
    for module in objective.modules().values():
        module.double()
    missing = torch.from_numpy(np.isnan(X_missing))
    seen = []
    error = model.error

    def watched(rows, decoded):
        if decoded.requires_grad:
            decoded.retain_grad()
            seen.append(decoded)
        return error(rows, decoded)

    model.error = watched
    sum(objective.step(torch.from_numpy(X_missing), torch.Generator().manual_seed(1)).losses.values()).backward()
    gradient = seen[-1].grad
    assert (gradient[..., missing] == 0).all()
    assert (gradient[..., ~missing] != 0).any()
    # The gradient of the atoms is a sum over the observed entries: whole rows with decoded entries in missing places
    # have the same.
    filled = torch.where(missing, seen[-1].detach(), torch.from_numpy(X_missing))
    np.testing.assert_allclose(
        error(torch.from_numpy(X_missing), seen[-1]).detach(), (seen[-1].detach() - filled).square().mean(-1)
    )


def closed_form(X_missing, **arguments):
    """Return the objective of a model in closed form, its codes and atoms, in double precision."""
    fit = MODELS["spike and slab"](missing="mask", **arguments).fit(X_missing)
    model = fit._build_model(X_missing.shape[1], torch.Generator().manual_seed(0))
    objective = fit._build_objective(model, len(X_missing), fit._plan(len(X_missing)))
    for module in objective.modules().values():
        module.double()
    return objective


def test_the_expected_error_is_that_of_draws(X_missing):
    model = closed_form(X_missing).model
    rows = torch.from_numpy(X_missing[:20])
    with torch.no_grad():
        mean, variance = model.latent.moments(model.posterior(rows))
        codes = model.sample_codes(rows, 20_000, torch.Generator().manual_seed(0))
        errors = model.error(rows, model.decode(codes))
        expected = model.expected_error(rows, model.decode(mean), variance, model.decoder.components)
    assert ((errors.mean(0) - expected).abs() < 5 * errors.std(0) / 20_000**0.5).all()


def test_atoms_by_statistics_lower_the_expected_error_to_its_least(X_missing):
    objective = closed_form(X_missing, optimizer=OnlineUpdate())
    model, rows = objective.model, torch.from_numpy(X_missing)
    errors = []
    with torch.no_grad():
        for _ in range(300):
            made = objective._expectations(rows, lambda mean, variance: model.decoder.components)
            errors.append(float(made.error.mean()))
            statistics = objective._statistics(rows, made)
            model.decoder.components.copy_(torch.linalg.solve(statistics.gram, statistics.cross))
        assert (np.diff(errors) <= 1e-12).all()
        best = 0.0  # feature by feature, from the rows that have it
        for feature, centre in zip(rows.T, model.decoder.offset, strict=True):
            seen = ~feature.isnan()
            gram = made.mean[seen].mT @ made.mean[seen] + torch.diag(made.variance[seen].sum(0))
            cross = made.mean[seen].mT @ (feature[seen] - centre)
            best += float((feature[seen] - centre).square().sum() - cross @ torch.linalg.solve(gram, cross))
    np.testing.assert_allclose(errors[-1], best / rows.numel(), rtol=1e-3)


def test_the_learnt_noise_is_that_of_observed_entries(X_missing):
    model = closed_form(X_missing, kl_weight="auto").model
    rows, decoded = torch.from_numpy(X_missing), torch.zeros(X_missing.shape, dtype=torch.float64)
    for _ in range(500):
        model.follow_noise_(model.error(rows, decoded), rows)
    assert float(model.noise.kl_weight) == pytest.approx(2 / 16 * np.nanmean(X_missing**2), rel=1e-6)


def test_bounds_are_those_of_the_observed_columns(X_missing):
    """Of a model whose decoder has these columns only, and the same variance of the likelihood."""
    fit = MODELS["thresholded"](missing="mask").fit(X_missing)
    model = fit._model(torch.device("cpu"), torch.float64)
    seen = ~np.isnan(X_missing[0])
    row = torch.from_numpy(X_missing[:1])
    codes = model.sample_codes(row, 3, torch.Generator().manual_seed(0))
    ours = model._log_likelihood(row, codes)
    variance = X_missing.shape[1] * fit.kl_weight_ / 2
    residual = (model.decode(codes)[:, 0].detach().numpy() - X_missing[0])[:, seen]
    expected = -(residual**2).sum(1) / (2 * variance) - seen.sum() / 2 * np.log(2 * np.pi * variance)
    np.testing.assert_allclose(ours.detach().numpy()[:, 0], expected)


def test_missing_entries_are_filled_better_than_by_means():
    X = make_sparse_coded_signals(2000, 16, 16, 2, random_state=0)[0]
    X /= X.std()
    missing = np.random.default_rng(0).uniform(size=X.shape) < 0.2
    holes = np.where(missing, np.nan, X)
    model = SparseVAE(16, encoder=MLP((128,)), kl_weight=3e-3, max_iter=40, optimizer=Adam(3e-3), missing="mask")
    model.set_params(random_state=0).fit(holes)
    by_mean = np.mean((np.nanmean(holes, axis=0) - X)[missing] ** 2)
    for algorithm, share in (("mean", 0.8), ("solver", 0.5)):
        model.set_params(transform_algorithm=algorithm)
        error = np.mean((model.reconstruct(holes) - X)[missing] ** 2)
        assert error < share * by_mean


@pytest.mark.parametrize("name", ["SVAE", "thresholded"])
def test_complete_rows_have_the_codes_they_have_among_complete_rows(name, X, X_missing):
    model = MODELS[name](missing="mask", transform_algorithm="solver").fit(X_missing)
    mixed = np.where(np.arange(len(X))[:, None] % 3 == 0, X_missing, X)
    complete = ~np.isnan(mixed).any(1)
    np.testing.assert_allclose(model.transform(mixed)[complete], model.transform(X)[complete], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.transform(mixed[7:9])[0], model.transform(mixed)[7], rtol=0, atol=1e-12)


def test_rows_and_columns_without_entries(X_missing):
    rows = X_missing.copy()
    rows[3], rows[:, 5] = np.nan, np.nan
    model = MODELS["thresholded"](missing="mask").fit(rows, X_val=rows)
    assert np.isfinite(model.reconstruct(rows)).all()
    assert np.isfinite(model.history_["validation_r2"]).all()
    # No entry, no likelihood: the bound of one draw has the divergence only.
    assert (model.elbo(rows, random_state=0)[3] <= 1e-12).all()


def test_ways_to_train_and_to_keep_a_model(X_missing, tmp_path):
    model = MODELS["spike and slab"](missing="mask")
    model.partial_fit(X_missing).partial_fit(X_missing)
    model.fit_stream([X_missing[:60], X_missing[60:]], X_val=X_missing[:30])
    model.save(tmp_path / "model.safetensors")
    loaded = skvardict.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(X_missing), model.transform(X_missing))
    tensor = model.transform(torch.from_numpy(X_missing))
    np.testing.assert_array_equal(tensor.numpy(), model.transform(X_missing))


def test_what_has_no_masks_says_so(X_missing):
    with pytest.raises(ValueError, match="NaN"):
        MODELS["SVAE"]().fit(X_missing)
    with pytest.raises(ValueError, match="infinity"):
        MODELS["SVAE"](missing="mask").fit(np.where(np.isnan(X_missing), np.inf, X_missing))
    with pytest.raises(ValueError, match="transform_algorithm='refine' needs complete rows"):
        closed_form(X_missing).model.check_algorithm("refine")
    assert "missing='mask'" in why_alone(MODELS["SVAE"](missing="mask"))
    assert MODELS["SVAE"](missing="mask").__sklearn_tags__().input_tags.allow_nan
    assert not MODELS["SVAE"]().__sklearn_tags__().input_tags.allow_nan
