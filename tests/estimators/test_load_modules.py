"""Weights that were trained in a loop of the user's own, back in an estimator."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn.utils import skip_init

import skvardict
from skvardict import SparseVAE, StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.networks import MLP
from skvardict.training import OnlineUpdate

X = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
QUICK = {"n_components": 5, "max_iter": 2, "random_state": 0}
MAKERS = {
    "VDL": lambda: VarianceDictionaryLearning(**QUICK),
    "VDL-NL": lambda: VarianceDictionaryLearning(decoder=MLP((6,)), **QUICK),
    "online": lambda: VarianceDictionaryLearning(optimizer=OnlineUpdate(), **QUICK),
    "SVAE": lambda: SparseVAE(encoder=MLP((8,)), **QUICK),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def fitted(request):
    return request.param().fit(X)


def tuned(module):
    """Return the module after a step up its own output."""
    module.requires_grad_()
    width = next(iter(module.parameters())).shape[0]
    module(torch.ones(3, width)).square().sum().backward()
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.01 * weight.grad
    return module


def test_codes_files_and_updates_use_the_weights_that_came_back(fitted, tmp_path):
    decoder, before = tuned(fitted.decoder_), fitted.transform(X)
    encoder = fitted.encoder_
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += 0.05
    assert fitted.load_modules(decoder=decoder, encoder=encoder) is fitted
    codes = fitted.transform(X)
    assert not np.array_equal(codes, before)
    if not isinstance(fitted, SparseVAE):
        np.testing.assert_array_equal(codes, encoder(torch.from_numpy(X)).detach().numpy())
    rebuilt = decoder(torch.from_numpy(codes)).detach().numpy()
    np.testing.assert_allclose(fitted.inverse_transform(codes), rebuilt, rtol=1e-6)
    fitted.save(tmp_path / "model")
    loaded = skvardict.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(X), codes)
    np.testing.assert_array_equal(loaded.partial_fit(X).components_, fitted.partial_fit(X).components_)


def test_an_update_starts_from_them(fitted):
    """One update of tiny rates stays where it begins; sums of online updates know nothing of the atoms before."""
    decoder = fitted.decoder_
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.mul_(3)
    fitted.load_modules(decoder=decoder)
    atoms = fitted.components_
    if isinstance(fitted.optimizer, OnlineUpdate):
        assert not any(array.any() for name, array in fitted._train_state.items() if ".online." in name)
    after = fitted.set_params(max_iter=1).partial_fit(X[:20]).components_
    if fitted.__class__ is not SparseVAE:  # its atoms are put back to their norm
        assert np.linalg.norm(after - atoms) < 0.5 * np.linalg.norm(atoms)


def test_modules_are_copied_and_may_be_of_another_type(fitted):
    decoder = fitted.decoder_.double()
    fitted.load_modules(decoder=decoder)
    before = fitted.components_
    with torch.no_grad():
        for weight in decoder.parameters():
            weight.zero_()
    np.testing.assert_array_equal(fitted.components_, before)
    assert fitted.components_.dtype == np.float32


def zeros(module):
    """Return `module` with weights that are set: without, they are what the memory held."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def test_what_does_not_fit_is_refused_and_changes_nothing(fitted):
    before = {name: array.copy() for name, array in fitted.params_.items()}
    broken = fitted.decoder_
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    name = type(fitted).__name__
    with pytest.raises(ValueError, match=rf"{name}\.load_modules: decoder\..* NaN"):
        fitted.load_modules(decoder=broken)
    with pytest.raises(ValueError, match=rf"{name}\.load_modules: encoder\..* Pass a module like encoder_"):
        fitted.load_modules(decoder=tuned(fitted.decoder_), encoder=zeros(skip_init(nn.Linear, 8, 5)))
    wider = type(fitted)(**{**fitted.get_params(deep=False), "n_components": 6}).fit(X)
    with pytest.raises(ValueError, match=r"decoder\..* has shape \(6,.*\) .* but \(5,.*\) in the fitted"):
        fitted.load_modules(decoder=wider.decoder_)
    assert before.keys() == fitted.params_.keys()
    for key, array in before.items():
        np.testing.assert_array_equal(fitted.params_[key], array)


def test_without_an_encoder_or_a_fit_there_is_no_place():
    with pytest.raises(ValueError, match="fitted without an encoder"):
        StandardDictionaryLearning(encoder=None, **QUICK).fit(X).load_modules(encoder=skip_init(nn.Linear, 8, 5))
    with pytest.raises(NotFittedError):
        StandardDictionaryLearning().load_modules(decoder=skip_init(nn.Linear, 5, 8))
