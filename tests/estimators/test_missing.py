import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skvardict
from skvardict import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
    sparse_encode,
)
from skvardict.datasets import make_sparse_coded_signals
from skvardict.energies import L1, VarianceHinge
from skvardict.estimators._together import why_alone
from skvardict.models import MaskedDictionaryModel
from skvardict.networks import MLP, LinearDecoder
from skvardict.objectives import MaskedDictionaryObjective
from skvardict.solvers import FISTA
from skvardict.training import Adam, OnlineUpdate, TargetSparsity

# Random rows in small dictionaries: what a solver says of slow convergence is tested elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore:.*the solver did not converge")

QUICK = {"n_components": 12, "max_iter": 3, "random_state": 0}
MODELS = {
    "VDL": lambda **kw: VarianceDictionaryLearning(**QUICK, **kw),
    "VDL without encoder": lambda **kw: VarianceDictionaryLearning(encoder=None, optimizer=Adam(1e-2), **QUICK, **kw),
    "SDL": lambda **kw: StandardDictionaryLearning(**QUICK, **kw),
    "DO": lambda **kw: StandardDictionaryLearning(encoder=None, positive_code=False, **QUICK, **kw),
    "WDL online": lambda **kw: WeightDecayDictionaryLearning(optimizer=OnlineUpdate(), **QUICK, **kw),
}


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(120, 16))


@pytest.fixture(scope="module")
def X_missing(X):
    return np.where(np.random.default_rng(1).uniform(size=X.shape) < 0.25, np.nan, X)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_where_nothing_is_missing_the_fit_is_that_without_masks(name, dtype, X):
    X = X.astype(dtype)
    masked, plain = (MODELS[name](missing=missing).fit(X, X_val=X[:40]) for missing in ("mask", "error"))
    np.testing.assert_array_equal(masked.components_, plain.components_)
    np.testing.assert_array_equal(masked.transform(X), plain.transform(X))
    assert masked.score(X) == plain.score(X)
    assert masked.energy(X) == plain.energy(X)
    seconds = {"seconds"}
    assert {k: v for k, v in masked.history_.items() if k not in seconds} == {
        k: v for k, v in plain.history_.items() if k not in seconds
    }


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_with_missing_entries_lowers_the_energy_and_gives_whole_rows(name, X_missing):
    model = MODELS[name](missing="mask").set_params(max_iter=15).fit(X_missing, X_val=X_missing[:40])
    assert model.history_["reconstruction"][-1] < model.history_["reconstruction"][0]
    assert np.isfinite(model.history_["validation_r2"]).all()
    assert np.isfinite(model.reconstruct(X_missing)).all()
    error = model.reconstruction_error(X_missing)
    observed = ~np.isnan(X_missing)
    squares = np.where(observed, X_missing - model.reconstruct(X_missing), 0) ** 2
    np.testing.assert_allclose(error, squares.sum(1) / observed.sum(1), rtol=1e-10)
    np.testing.assert_allclose(error.mean(), model.energy(X_missing)["reconstruction"], rtol=1e-6)


def test_score_is_r2_over_the_observed_entries(X, X_missing):
    model = MODELS["DO"](missing="mask").fit(X_missing)
    observed = ~np.isnan(X_missing)
    error = np.nansum((X_missing - model.reconstruct(X_missing)) ** 2)
    expected = 1 - error / np.nansum((X_missing - np.nanmean(X_missing, axis=0)) ** 2)
    np.testing.assert_allclose(model.score(X_missing), expected, rtol=1e-10)
    assert observed.any()
    full = 1 - np.sum((X - model.reconstruct(X_missing)) ** 2) / np.sum((X - X.mean(0)) ** 2)
    np.testing.assert_allclose(model.score(X_missing, X), full, rtol=1e-10)


def test_codes_are_those_of_the_observed_columns(X_missing):
    solver = FISTA(max_iter=20_000, tol=1e-9, restart=True)
    model = MODELS["DO"](missing="mask", alpha=0.05, solver=solver).set_params(max_iter=1).fit(X_missing)
    codes = model.transform(X_missing)
    for row, code in zip(X_missing[:20], codes):
        seen = ~np.isnan(row)
        atoms = model.components_[:, seen]
        expected = sparse_encode(row[None, seen], atoms, alpha=0.05, positive=False, tol=1e-12)
        np.testing.assert_allclose(code[None], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["DO", "VDL"])
def test_complete_rows_have_the_codes_they_have_among_complete_rows(name, X, X_missing):
    model = MODELS[name](missing="mask", transform_algorithm="solver").fit(X_missing)
    mixed = np.where(np.arange(len(X))[:, None] % 3 == 0, X_missing, X)
    complete = ~np.isnan(mixed).any(1)
    np.testing.assert_allclose(model.transform(mixed)[complete], model.transform(X)[complete], rtol=0, atol=1e-12)
    np.testing.assert_allclose(model.transform(mixed[7:9])[0], model.transform(mixed)[7], rtol=0, atol=1e-12)


def test_a_planted_dictionary_is_found_with_a_fifth_of_the_entries_missing():
    X, _, atoms = make_sparse_coded_signals(1500, 20, 24, 3, random_state=0)
    X /= X.std()
    missing = np.random.default_rng(0).uniform(size=X.shape) < 0.2
    model = StandardDictionaryLearning(24, encoder=None, alpha=0.01, missing="mask", random_state=0)
    model.fit(np.where(missing, np.nan, X))
    unit = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    best = np.abs(unit @ model.components_.T).max(axis=1)
    filled = model.reconstruct(np.where(missing, np.nan, X))
    error = np.sqrt(np.mean((filled - X)[missing] ** 2))
    by_mean = np.sqrt(np.mean((np.nanmean(np.where(missing, np.nan, X), axis=0) - X)[missing] ** 2))
    assert np.median(best) > 0.99
    assert np.mean(best > 0.9) > 0.8
    assert error < 0.4 * by_mean


def _objective(X, **arguments):
    generator = torch.Generator().manual_seed(0)
    decoder = LinearDecoder(6, X.shape[1], generator).double()
    model = MaskedDictionaryModel(decoder, None, 6, FISTA(), L1(0.05, False), VarianceHinge(0.0, 0.5))
    return MaskedDictionaryObjective(model=model, batch_rows=len(X), atom_norm=None, **arguments)


def test_gradients_of_the_atoms_are_those_of_a_sum_over_observed_entries(X_missing):
    rows = torch.from_numpy(X_missing[:30])
    objective = _objective(rows)
    atoms = objective.model.decoder.components
    codes = objective.model.infer(rows).codes
    (gradient,) = torch.autograd.grad(objective.step(rows, torch.Generator()).losses["decoder"], atoms)
    expected = torch.zeros_like(atoms)
    for row, code in zip(rows, codes):
        seen = ~row.isnan()
        residual = code @ atoms.detach()[:, seen] - row[seen]
        expected[:, seen] += 2 / (int(seen.sum()) * len(rows)) * torch.outer(code, residual)
    torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_atoms_that_lower_the_error_of_filled_rows_lower_that_of_observed_entries(X_missing):
    rows = torch.from_numpy(X_missing[:60])
    objective = _objective(rows, gives_statistics=True)
    atoms = objective.model.decoder.components
    codes = objective.model.infer(rows).codes
    errors = []
    for _ in range(200):
        statistics = objective._statistics(codes, rows)
        errors.append(float(objective.model.reconstruction(rows, codes).mean().detach()))
        with torch.no_grad():
            atoms.copy_(torch.linalg.lstsq(statistics.gram, statistics.cross).solution)
    assert (np.diff(errors) <= 1e-12).all()
    best = 0.0  # feature by feature, the weighted least squares that such steps lead to
    for feature in rows.T:
        seen = ~feature.isnan()
        weight = 1 / (~rows.isnan()).sum(1)[seen].double().sqrt()
        left, right = codes[seen] * weight[:, None], (feature[seen] * weight)[:, None]
        best += float((left @ torch.linalg.lstsq(left, right).solution - right).square().sum()) / len(rows)
    np.testing.assert_allclose(errors[-1], best, rtol=1e-3)


def test_rows_and_columns_without_entries(X_missing):
    rows = X_missing.copy()
    rows[3], rows[:, 5] = np.nan, np.nan
    model = MODELS["DO"](missing="mask").fit(rows)
    assert (model.transform(rows)[3] == 0).all()
    assert np.isfinite(model.reconstruct(rows)).all()
    assert np.isfinite(model.score(rows))


def test_ways_to_train_and_to_keep_a_model(X_missing, tmp_path):
    model = MODELS["VDL"](missing="mask")
    model.partial_fit(X_missing).partial_fit(X_missing)
    model.fit_stream([X_missing[:60], X_missing[60:]], X_val=X_missing[:30])
    model.save(tmp_path / "model.safetensors")
    loaded = skvardict.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.transform(X_missing), model.transform(X_missing))
    mapped = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=X_missing.shape)
    mapped[:] = X_missing
    np.testing.assert_array_equal(
        model.transform(np.memmap(tmp_path / "rows", dtype=np.float64, mode="r", shape=X_missing.shape)),
        model.transform(X_missing),
    )
    tensor = model.transform(torch.from_numpy(X_missing))
    np.testing.assert_array_equal(tensor.numpy(), model.transform(X_missing))
    sparse = MODELS["SDL"](missing="mask", alpha=TargetSparsity(0.5)).fit(X_missing)
    assert np.isfinite(sparse.alpha_)
    assert make_pipeline(StandardScaler(), MODELS["DO"](missing="mask")).fit(X_missing).transform(X_missing).shape == (
        120,
        12,
    )


def test_what_has_no_masks_says_so(X_missing):
    with pytest.raises(ValueError, match="NaN"):
        MODELS["VDL"]().fit(X_missing)
    with pytest.raises(ValueError, match="infinity"):
        MODELS["VDL"](missing="mask").fit(np.where(np.isnan(X_missing), np.inf, X_missing))
    with pytest.raises(ValueError, match="missing='mask' needs a linear decoder"):
        MODELS["VDL"](missing="mask", decoder=MLP((8,))).fit(X_missing)
    by_gap = MODELS["DO"](missing="mask", solver=FISTA(criterion="gap"))
    with pytest.raises(ValueError, match="criterion='gap' needs rows without missing entries"):
        by_gap.fit(X_missing)
    assert "missing='mask'" in why_alone(MODELS["VDL"](missing="mask"))
    assert why_alone(MODELS["VDL"]()) is None
    assert MODELS["VDL"](missing="mask").__sklearn_tags__().input_tags.allow_nan
    assert not MODELS["VDL"]().__sklearn_tags__().input_tags.allow_nan
