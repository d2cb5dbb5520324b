"""Every public estimator against scikit-learn's checks, the ones it does not yield, and what it does not notice."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import skvardict
from skvardict import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.networks import MLP, ResNet
from skvardict.solvers import FISTA
from skvardict.training import SGD, Adam, OnlineUpdate, TargetSparsity


def _small(estimator, **defaults):
    """Return a factory of quick models of a kind; its keywords override what makes them quick."""
    quick = {"n_components": 5, "max_iter": 3, "random_state": 0, **defaults}
    return lambda **kw: estimator(**{**quick, **kw})


NONLINEAR = {"decoder": MLP((8,))}
ENCODER = {"encoder": MLP((16,))}

# A new estimator or variant joins here and is tested by everything below.
VARIANTS = {
    "VDL": _small(VarianceDictionaryLearning),
    "VDL-NL": _small(VarianceDictionaryLearning, **NONLINEAR),
    "VDL without encoder": _small(VarianceDictionaryLearning, encoder=None, solver=FISTA()),
    "VDL at constant rates": _small(
        VarianceDictionaryLearning, optimizer=Adam(3e-4, encoder_learning_rate=1e-4), early_stopping=True
    ),
    "VDL of a sparsity": _small(VarianceDictionaryLearning, alpha=TargetSparsity(0.5)),
    "VDL online": _small(VarianceDictionaryLearning, optimizer=OnlineUpdate()),
    "VDL signed": _small(VarianceDictionaryLearning, positive_code=False),
    "VDL signed and split": _small(VarianceDictionaryLearning, positive_code=False, split_sign=True),
    "VDL with masks": _small(VarianceDictionaryLearning, missing="mask"),
    "DO with masks": _small(StandardDictionaryLearning, encoder=None, missing="mask"),
    "SDL": _small(StandardDictionaryLearning),
    "DO": _small(StandardDictionaryLearning, encoder=None),
    "DO-NL": _small(StandardDictionaryLearning, encoder=None, **NONLINEAR),
    "WDL": _small(WeightDecayDictionaryLearning),
    "WDL online": _small(WeightDecayDictionaryLearning, encoder=None, positive_code=False),
    "WDL by gradient steps": _small(
        WeightDecayDictionaryLearning,
        encoder=None,
        positive_code=False,
        optimizer=SGD(1.0, momentum=0, nesterov=False, max_grad_norm=None),
    ),
    "SVAE": _small(SparseVAE, **ENCODER),
    "SVAE, Cauchy, MLP": _small(SparseVAE, prior="cauchy", n_draws=2, encoder=ResNet((16,)), **NONLINEAR),
    "VSC": _small(ThresholdedVSC, n_draws=3, **ENCODER),
    "VSC, most probable components": _small(ThresholdedVSC, n_draws=3, transform_algorithm="top_k", **ENCODER),
    "VSC, Gamma threshold, best draw": _small(
        ThresholdedVSC, base="gaussian", threshold_prior="gamma", n_draws=3, transform_algorithm="max_elbo", **ENCODER
    ),
    # On the data of scikit-learn's checks, of standard deviation 100, draws of the usual scale look like an explosion.
    "VSC, averaged, MLP": _small(
        ThresholdedVSC, n_draws=3, draw_reduction="softmax", prior_scale=1e-4, **ENCODER, **NONLINEAR
    ),
    "spike and slab": _small(SpikeAndSlabVSC, n_draws=3, **ENCODER),
    # A learnt weight begins at the mean square of the rows, 10,000 in some checks: too long a first step by this bound.
    "spike and slab, importance-weighted": _small(
        SpikeAndSlabVSC, n_draws=2, draw_reduction="iwae", kl_weight=0.01, **ENCODER
    ),
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*mean square of X:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning"),
    # scikit-learn's own checks mix frames and arrays on purpose, and build degenerate data
    pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:X has feature names:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*the model has collapsed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*components were never active:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*the L1 norm of codes has fallen:UserWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]

UNYIELDED = [
    checks.check_set_output_transform,
    checks.check_set_output_transform_pandas,
    checks.check_set_output_transform_polars,
    checks.check_global_output_transform_pandas,
    checks.check_transformer_get_feature_names_out,
    checks.check_transformer_get_feature_names_out_pandas,
    checks.check_param_validation,
    checks.check_dataframe_column_names_consistency,
    checks.check_inplace_ensure_writeable,
]


@pytest.fixture(scope="module", params=list(VARIANTS))
def make(request):
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(make, X):
    return make().fit(X)


@parametrize_with_checks([variant() for variant in VARIANTS.values()])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", UNYIELDED, ids=lambda check: check.__name__)
def test_scikit_learn_checks_that_are_not_yielded(make, check):
    check(type(make()).__name__, make())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_codes_do_not_depend_on_batch_mates(make, dtype):
    rng = np.random.default_rng(1)
    scales = 10.0 ** rng.uniform(-1, 1, (64, 1))
    X = (rng.standard_normal((64, 16)) * scales).astype(dtype)
    # Few iterations, so that most rows stop on their own, but those of non-convex or underdetermined problems that
    # cycle have no time to blow rounding up.
    model = make(n_components=48, solver=FISTA(max_iter=60, tol=1e-2)).fit(X)
    if hasattr(model, "solver"):
        assert model.encode(X).converged.mean() > 0.1
    whole = model.transform(X)
    order = rng.permutation(len(X))
    # A row's product with a matrix rounds differently in blocks of other heights, and the solver may then stop
    # one test earlier or later: differences up to the solver's tolerance times a small factor.
    tolerance = {"rtol": 2e-3, "atol": 2e-3} if dtype == np.float32 else {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(np.vstack([model.transform(row[None]) for row in X]), whole, **tolerance)
    np.testing.assert_allclose(np.vstack([model.transform(X[:32]), model.transform(X[32:])]), whole, **tolerance)
    np.testing.assert_allclose(model.transform(X[order]), whole[order], **tolerance)


def test_same_seed_gives_the_same_model(make, X):
    first, second = make().fit(X), make().fit(X)
    for name in first.params_:
        np.testing.assert_array_equal(first.params_[name], second.params_[name])
    other = make(random_state=1).fit(X)
    assert any((other.params_[name] != first.params_[name]).any() for name in first.params_)


def test_round_trips_keep_the_codes(fitted, X, tmp_path):
    expected = fitted.transform(X)
    joblib.dump(fitted, tmp_path / "model.joblib")
    copies = [pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), joblib.load(tmp_path / "model.joblib")]
    for other in copies:
        np.testing.assert_array_equal(other.transform(X), expected)


def test_a_saved_file_keeps_codes_and_training_state(fitted, X, tmp_path):
    fitted.save(tmp_path / "model")
    other = skvardict.load(tmp_path / "model")
    np.testing.assert_array_equal(other.transform(X), fitted.transform(X))
    assert str(other.get_params()) == str(fitted.get_params())
    other.partial_fit(X)
    for name, array in copy.deepcopy(fitted).partial_fit(X).params_.items():
        np.testing.assert_array_equal(other.params_[name], array)


def test_a_stopped_fit_goes_on_bitwise_from_its_checkpoint(make, X, tmp_path, meddle):
    expected = make().fit(X)

    def kill(session):
        if session.n_epochs == 2:
            raise SystemExit

    with meddle(kill, before="epoch"), pytest.raises(SystemExit):
        make().fit(X, checkpoint=tmp_path / "run")
    model = make().fit(X, checkpoint=tmp_path / "run")
    assert model.resumed_epoch_ == 2
    for name, array in expected.params_.items():
        np.testing.assert_array_equal(model.params_[name], array)


def test_skops_round_trip_keeps_the_codes(fitted, X):
    io = pytest.importorskip("skops.io")
    data = io.dumps(fitted)
    unknown = io.get_untrusted_types(data=data)
    assert all(name.startswith("skvardict.") for name in unknown)
    np.testing.assert_array_equal(io.loads(data, trusted=unknown).transform(X), fitted.transform(X))


def test_clone_is_unfitted_and_keeps_parameters(fitted, X):
    other = clone(fitted)
    assert str(other.get_params()) == str(fitted.get_params())
    with pytest.raises(NotFittedError):
        other.transform(X)


def test_fitted_state_holds_no_tensor_or_module(fitted):
    for name, value in vars(fitted).items():
        assert not isinstance(value, torch.Tensor | torch.nn.Module), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tensor_in_gives_the_same_tensor_out_as_an_array(make, X, dtype):
    tensor = torch.from_numpy(X).to(dtype)
    model = make().fit(tensor)
    codes = model.transform(tensor)
    assert isinstance(codes, torch.Tensor)
    assert codes.dtype == dtype
    assert model.inverse_transform(codes).dtype == dtype
    same = make().fit(tensor.numpy())
    np.testing.assert_array_equal(codes.numpy(), same.transform(tensor.numpy()))


def test_a_tensor_that_requires_a_gradient_is_accepted(fitted, X):
    codes = fitted.transform(torch.from_numpy(X).requires_grad_())
    assert not codes.requires_grad


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16])
def test_other_dtypes_become_float32(make, dtype):
    X = np.random.default_rng(0).integers(0, 3, (40, 6)).astype(dtype)
    model = make().fit(X)
    assert model.transform(X).dtype == np.float32
    assert all(array.dtype == np.float32 for array in model.params_.values())


@pytest.mark.parametrize("n_samples", [2, 3, 19, 251, 501])
def test_any_number_of_rows_from_two_on_can_be_fitted(make, n_samples):
    X = np.random.default_rng(0).standard_normal((n_samples, 6)).astype(np.float32)
    model = make(max_iter=1).fit(X)
    assert np.isfinite(model.transform(X)).all()


def test_one_row_is_refused_with_a_reason(make):
    with pytest.raises(ValueError, match=r"at least 2 rows.*n_samples=1"):
        make().fit(np.ones((1, 6), np.float32))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_numbers_are_refused(make, fitted, X, bad):
    spoilt = X.copy()
    spoilt[3, 2] = bad
    if np.isnan(bad) and make().__sklearn_tags__().input_tags.allow_nan:
        assert np.isfinite(make().fit(spoilt).transform(spoilt)).all()  # a missing entry
        return
    with pytest.raises(ValueError, match=r"NaN|inf"):
        make().fit(spoilt)
    with pytest.raises(ValueError, match=r"NaN|inf"):
        fitted.transform(torch.from_numpy(spoilt))


def test_constant_features_and_zero_rows_are_harmless(make, X):
    degenerate = X.copy()
    degenerate[:, 2] = 1.0
    degenerate[::3] = 0.0
    model = make().fit(degenerate)
    assert np.isfinite(model.transform(degenerate)).all()
    assert np.isfinite(model.inverse_transform(model.transform(degenerate))).all()


def test_wrong_number_of_features_is_refused(fitted, X):
    with pytest.raises(ValueError, match="features"):
        fitted.transform(X[:, :4])
    with pytest.raises(ValueError, match="codes of shape"):
        fitted.inverse_transform(np.zeros((2, 3)))


def test_fit_transform_equals_fit_then_transform(make, X):
    np.testing.assert_array_equal(make().fit_transform(X), make().fit(X).transform(X))


def _use_all_methods(model, X):
    codes = model.fit(X).transform(X)
    model.partial_fit(X)
    model.score(X)
    model.inverse_transform(codes)
    model.reconstruct(X)
    return X.flags.writeable, codes.shape


def test_read_only_memory_maps_work_in_every_method_under_loky(make):
    X = np.random.default_rng(0).standard_normal((9000, 64)).astype(np.float32)  # 2.3 MB: loky maps it
    jobs = (joblib.delayed(_use_all_methods)(make(max_iter=1, batch_size=1500), X) for _ in range(2))
    for writeable, shape in joblib.Parallel(n_jobs=2)(jobs):
        assert not writeable
        assert shape == (9000, make()._n_features_out)


@pytest.mark.gpu
def test_fitting_on_a_gpu_loads_on_a_cpu(make, X):
    model = make().fit(torch.from_numpy(X).cuda())
    codes = model.transform(torch.from_numpy(X).cuda())
    assert codes.is_cuda
    portable = pickle.loads(pickle.dumps(model)).set_params(device="cpu")
    # A row may take an iteration more, or another draw for its best.
    assert np.isclose(portable.transform(X), codes.cpu().numpy(), rtol=1e-3, atol=1e-3).mean() > 0.97
