"""What VarianceDictionaryLearning promises beyond the common tests."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skvardict import VarianceDictionaryLearning
from skvardict.datasets import make_sparse_coded_signals
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA
from skvardict.training import Adam, EarlyStopping, TrainingDivergedError

CONSTANT = Adam(3e-4, encoder_learning_rate=1e-4)  # steps that do not depend on how many follow


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return GlobalStandardizer().fit_transform(X.astype(np.float32)), y


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 16, "max_iter": 5, "random_state": 0, **parameters})


def test_planted_dictionary_is_recovered():
    X, _, planted = make_sparse_coded_signals(
        4000, n_features=32, n_components=24, n_nonzero=2, noise_std=0.01, random_state=0
    )
    X = X / np.sqrt(np.mean(X**2))
    # More atoms than were planted: with exactly as many, a few atoms settle on mixtures (a local minimum).
    model = VarianceDictionaryLearning(
        40, alpha=0.05, optimizer=Adam(5e-3, encoder_learning_rate=1e-3), max_iter=60, batch_size=100,
        early_stopping=False, random_state=0,
    ).fit(X)  # fmt: skip
    atoms = model.components_ / np.linalg.norm(model.components_, axis=1, keepdims=True)
    best = (planted @ atoms.T).max(axis=1)
    # A random dictionary of this size has a mean best cosine of about 0.4.
    assert np.median(best) > 0.99
    assert (best > 0.95).mean() > 0.8


def test_a_grid_search_over_alpha_and_beta_does_not_depend_on_n_jobs(digits):
    X, y = digits[0][:300], digits[1][:300]
    pipeline = Pipeline([("sc", small(max_iter=2)), ("clf", LogisticRegression(max_iter=300))])
    grid = {"sc__alpha": [0.005, 0.02], "sc__beta": [0.0, 10.0]}
    one, two = (GridSearchCV(pipeline, grid, cv=2, n_jobs=n).fit(X, y) for n in (1, 2))
    # Workers may sum in another order than this process: equal up to a prediction or two.
    np.testing.assert_allclose(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"], atol=2 / len(X))


def test_the_solver_can_be_searched_over(digits):
    search = GridSearchCV(small(solver=FISTA(), max_iter=1), {"solver__tol": [1e-2, 1e-3]}, cv=2)
    assert search.fit(digits[0][:100]).best_params_.keys() == {"solver__tol"}


def test_clean_targets_score_a_denoiser(digits):
    X = digits[0][:500]
    model = small().fit(X)
    noisy = X + np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    expected = 1 - ((X - model.reconstruct(noisy)) ** 2).sum() / ((X - X.mean(axis=0)) ** 2).sum()
    assert model.score(noisy, X) == pytest.approx(expected, rel=1e-4)
    assert model.score(X, digits[1][:500]) == model.score(X)


def test_the_hinge_keeps_codes_alive(digits):
    X = digits[0]
    settings = {
        "n_components": 32,
        "alpha": 0.1,
        "max_iter": 60,
        "batch_size": 100,
        "optimizer": Adam(3e-3, encoder_learning_rate=1e-4),
    }
    with pytest.warns(UserWarning, match=r"L1 norm of codes has fallen .* Raise beta \(now 0.0\)"):
        without = small(beta=0.0, **settings).fit(X)
    protected = small(beta=10.0, **settings).fit(X)
    assert protected.history_["l1"][-1] > 2 * without.history_["l1"][-1]
    assert protected.history_["component_std"][-1] > 2 * without.history_["component_std"][-1]


def test_the_best_epoch_on_validation_data_is_kept(digits):
    X, X_val = digits[0][:1200], digits[0][1200:]
    model = small(max_iter=8, early_stopping=False).fit(X, X_val=X_val)
    energies = model.history_["validation_energy"]
    assert model.best_epoch_ == int(np.argmin(energies)) + 1
    assert model.n_iter_ == 8


def test_early_stopping_stops_and_holds_rows_out(digits):
    model = small(max_iter=50, optimizer=CONSTANT, early_stopping=EarlyStopping(n_iter_no_change=1, tol=0.5)).fit(
        digits[0]
    )
    assert model.n_iter_ < 50
    assert "validation_energy" in model.history_
    # fewer than 20 validation rows: none are held out
    assert "validation_energy" not in small(early_stopping=True).fit(digits[0][:100]).history_


def test_warm_start_equals_one_long_fit(digits):
    X = digits[0][:600]
    long = small(max_iter=4, optimizer=CONSTANT).fit(X)
    short = small(max_iter=2, optimizer=CONSTANT, warm_start=True).fit(X).fit(X)
    assert short.n_iter_ == 4
    for name, array in long.params_.items():
        np.testing.assert_array_equal(short.params_[name], array)


def test_partial_fit_is_one_counted_pass(digits):
    X = digits[0][:600]
    model = small(batch_size=250, optimizer=CONSTANT).partial_fit(X)
    assert model.n_steps_ == 3
    once = small(max_iter=1, batch_size=250, optimizer=CONSTANT).fit(X)
    np.testing.assert_array_equal(model.components_, once.components_)
    assert model.partial_fit(X[:100]).n_steps_ == 4


def test_history_is_a_table_of_finite_numbers(digits):
    history = pd.DataFrame(small(batch_size=250, early_stopping=True).fit(digits[0]).history_)
    assert len(history) == 5
    assert np.isfinite(history.to_numpy()).all()
    expected = (
        history["reconstruction"] + 0.005 * history["l1"] + 5 * history["coupling"] + 10 * history["hinge"] * 7 / 1617
    )
    np.testing.assert_allclose(history["energy"], expected, rtol=1e-6)


def test_energy_adds_up(digits):
    model = small().fit(digits[0])
    terms = model.energy(digits[0])
    assert terms["total"] == pytest.approx(terms["reconstruction"] + 0.005 * terms["l1"] + 5 * terms["coupling"])
    codes = model.transform(digits[0])
    error = np.mean((digits[0] - model.inverse_transform(codes)) ** 2)
    assert terms["reconstruction"] == pytest.approx(error, rel=1e-4)


def test_solver_codes_have_lower_energy_than_encoder_codes(digits):
    encoder = small().fit(digits[0])
    solver = small(transform_algorithm="solver", solver=FISTA(max_iter=2000)).fit(digits[0])
    assert solver.energy(digits[0])["total"] < encoder.energy(digits[0])["total"]
    encoding = solver.encode(digits[0][:50])
    assert encoding.converged.all()
    assert (encoding.n_iter > 0).all()


def test_divergence_stops_with_an_error_and_leaves_the_last_good_state(digits, meddle):
    X = digits[0][:400]
    expected = small(max_iter=2, optimizer=CONSTANT).fit(X)
    model = small(optimizer=CONSTANT)
    said = r"epoch 3, batch 1 .*state after epoch 2 is kept"
    with meddle(lambda session: session.n_epochs == 2), pytest.raises(TrainingDivergedError, match=said):
        model.fit(X)
    np.testing.assert_array_equal(model.components_, expected.components_)


def test_divergence_in_the_first_epoch_keeps_what_was_fitted_before(digits, meddle):
    X = digits[0][:400]
    model = small(early_stopping=False).fit(X)
    codes = model.transform(X)
    with meddle(lambda session: True), pytest.raises(TrainingDivergedError, match="fitted before"):
        model.fit(X)
    np.testing.assert_array_equal(model.transform(X), codes)


def test_a_real_divergence_is_noticed(digits):
    with pytest.raises(TrainingDivergedError, match="non-finite"):
        small(solver=FISTA(step_size=1e6), max_iter=3).fit(digits[0][:300])


def test_a_scale_far_from_one_is_warned_about():
    X = 100 * np.random.default_rng(0).standard_normal((50, 8))
    with pytest.warns(UserWarning, match="mean square of X"):
        small(max_iter=1).fit(X)


def test_collapse_is_said(digits):
    with pytest.warns(UserWarning, match="collapsed"):
        small(alpha=1e3, beta=0.0, max_iter=1).fit(digits[0][:300])


def test_an_absent_device_is_refused_by_name(digits, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="sees no CUDA device"):
        small(device="cuda").fit(digits[0])


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"alpha": -1}, "alpha"), ({"n_components": 0}, "n_components"), ({"decoder": "cubic"}, "decoder"),
     ({"solver": 3}, "solver"), ({"batch_size": 0}, "batch_size")],
)  # fmt: skip
def test_an_invalid_parameter_is_named(digits, parameters, name):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        small(**parameters).fit(digits[0])


def test_an_encoder_must_exist_to_be_used(digits):
    with pytest.raises(ValueError, match="needs an encoder"):
        small(encoder=None, transform_algorithm="encoder").fit(digits[0])


def test_a_builder_may_give_any_decoder(digits):
    def build(n_features, n_components):
        return torch.nn.Sequential(torch.nn.Linear(n_components, 12), torch.nn.Tanh(), torch.nn.Linear(12, n_features))

    state = torch.get_rng_state()
    model = small(decoder=build, max_iter=2).fit(digits[0][:300])
    assert torch.equal(state, torch.get_rng_state())
    assert model.components_.shape == (16, 64)
    assert np.isfinite(model.score(digits[0][:300]))


def test_scikit_learn_callbacks_are_called(digits):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9 has callbacks")

    model = small(max_iter=2)
    seen = []

    class Recorder:
        def setup(self, estimator, context):
            seen.append("setup")

        def teardown(self, estimator, context):
            seen.append("teardown")

        def on_fit_task_begin(self, estimator, context, **kwargs):
            seen.append("begin")

        def on_fit_task_end(self, estimator, context, **kwargs):
            seen.append("end")
            return False

    recorder = Recorder()
    assert isinstance(recorder, callback.FitCallback)  # or scikit-learn has changed its protocol, and so must we
    model.set_callbacks(recorder).fit(digits[0][:300])
    assert seen.count("begin") == 3
    assert seen[-1] == "teardown"


def test_energies_share_the_hinge_among_the_rows_of_a_batch(digits):
    X = digits[0][:251]  # batches of 125 and 126 rows, whatever batch_size=250 says
    history = small(max_iter=1, batch_size=250, init="random", optimizer=CONSTANT, std_threshold=5.0).fit(X).history_
    terms = history["reconstruction"][0] + 0.005 * history["l1"][0] + 5 * history["coupling"][0]
    assert history["hinge"][0] > 100
    assert history["energy"][0] == pytest.approx(terms + 10 * 2 * history["hinge"][0] / 251, rel=1e-6)
