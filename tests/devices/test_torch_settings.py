"""Torch's settings are their caller's: they change nothing in the package, and the package changes none of them."""

from contextlib import contextmanager
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits

import skvardict
from skvardict import SparseCoder, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.metrics import r2
from skvardict.model_selection import BatchedGridSearchCV

VARIANTS = run_path(str(Path(__file__).parents[1] / "common" / "test_all_estimators.py"))["VARIANTS"]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*the model has collapsed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*were never active:UserWarning"),
]


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)  # noqa: TID251  what is tested
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)  # noqa: TID251


# The device "meta" has no numbers: whatever lands there is noticed.
SETTINGS = {
    "set_default_device": default_device,
    "with device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "set_default_dtype": default_dtype,
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def setting(request):
    return request.param


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32)


def everything(model, X, folder):
    """Return all that public methods give, by name."""
    model.fit(X, X_val=X[:20], checkpoint=folder / "run")
    made = dict(model.params_)
    tensor = torch.as_tensor(X, device="cpu")
    for kind, rows in (("array", X), ("tensor", tensor)):
        codes = made[f"transform, {kind}"] = model.transform(rows)
        made[f"inverse, {kind}"] = model.inverse_transform(codes)
        made[f"reconstruct, {kind}"] = model.reconstruct(rows)
        made[f"errors, {kind}"] = model.reconstruction_error(rows)
        made[f"n_iter, {kind}"] = model.encode(rows).n_iter
    made["score"] = model.score(X)
    made["components"] = model.components_
    made |= {f"decoder.{name}": weight for name, weight in model.decoder_.state_dict().items()}
    model.save(folder / "model")
    made["loaded"] = skvardict.load(folder / "model").partial_fit(X).transform(X)
    made["streamed"] = clone(model).fit_stream([X[:30], X[30:]]).transform(X)
    drawing = {"n_draws": 2, "random_state": 0}
    calls = {"energy": {}, "posterior_params": {}, "sample_codes": drawing, "elbo": drawing, "iwae": drawing}
    for name, arguments in calls.items():
        if hasattr(model, name):
            made[name] = getattr(model, name)(X, **arguments)
    if hasattr(model, "sample"):
        made["sample"] = model.sample(3, random_state=0)
    return made


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            assert_equal(value, second[name])
            continue
        assert type(value) is type(second[name]), name
        first_array, second_array = (
            np.asarray(each.detach() if hasattr(each, "detach") else each) for each in (value, second[name])
        )
        assert first_array.dtype == second_array.dtype, name
        np.testing.assert_array_equal(first_array, second_array, err_msg=name)


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, X, tmp_path_factory):
    make = VARIANTS[request.param]
    return make, everything(make(max_iter=1, device="cpu"), X, tmp_path_factory.mktemp("plain"))


def test_settings_of_torch_change_nothing(variant, setting, X, tmp_path):
    make, expected = variant
    with setting():
        made = everything(make(max_iter=1, device="cpu"), X, tmp_path)
    assert_equal(expected, made)


def functions(X):
    atoms = X[:20] / np.linalg.norm(X[:20], axis=1, keepdims=True)
    search = BatchedGridSearchCV(
        StandardDictionaryLearning(4, max_iter=2, random_state=0), {"alpha": [0.01, 0.02]}, cv=2
    )
    made = {
        f"{algorithm}, {n_rows}": skvardict.sparse_encode(X[:n_rows], atoms, algorithm=algorithm, positive=False, **own)
        for algorithm, own in (
            ("lasso", {"alpha": 0.1}),
            ("omp", {"n_nonzero_coefs": 2}),
            ("threshold", {"alpha": 0.1}),
        )
        for n_rows in (1, 60)
    }
    return made | {
        "coder": SparseCoder(atoms, alpha=0.1).fit(X).transform(X),
        "path": skvardict.sparse_encode_path(X, atoms, alphas=[0.1, 0.05]).codes,
        "alpha_max": skvardict.alpha_max(X, atoms),
        "r2": r2(X, X + 1),
        "search": search.fit(X).best_estimator_.transform(X),
    }


def test_functions_and_searches_are_as_they_are(setting, X):
    expected = functions(X)
    with setting():
        made = functions(X)
    assert_equal(expected, made)


def decoder(n_features, n_components):
    return torch.nn.Linear(n_components, n_features)


def encoder(n_features, n_components):
    return torch.nn.Linear(n_features, n_components)


def test_networks_of_builders_are_made_with_torchs_own_defaults(setting, X):
    def fit():
        model = VarianceDictionaryLearning(4, decoder=decoder, encoder=encoder, max_iter=2, random_state=0)
        return model.fit(X).params_

    expected = fit()
    with setting():
        made = fit()
    assert_equal(expected, made)


def test_chunks_and_callbacks_see_the_callers_settings(X):
    seen = []

    def chunks():
        seen.append((torch.get_default_device().type, torch.is_autocast_enabled("cpu"), torch.zeros(1).device.type))
        yield from (X[:30], X[30:])

    with torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        StandardDictionaryLearning(4, max_iter=2, random_state=0).fit_stream(chunks)
        assert torch.zeros(1).device.type == "meta"
        assert torch.is_autocast_enabled("cpu")
    assert set(seen) == {("meta", True, "meta")}


def test_a_failed_call_leaves_the_settings(X):
    with torch.device("meta"):
        with pytest.raises(ValueError, match="features"):
            SparseCoder(X).transform(X[:, :3])
        assert torch.zeros(1).device.type == "meta"


def test_results_on_real_rows_under_all_settings_together():
    X = load_digits().data[:200].astype(np.float32) / 16
    expected = VarianceDictionaryLearning(16, max_iter=2, random_state=0).fit(X).transform(X)
    with default_dtype(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        made = VarianceDictionaryLearning(16, max_iter=2, random_state=0).fit(X).transform(X)
    np.testing.assert_array_equal(made, expected)
