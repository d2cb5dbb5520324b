"""What a pretend GPU and a real one are asked alike."""

import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch

import skvardict

OWN_METHODS = {
    "energy": {},
    "posterior_params": {},
    "sample_codes": {"n_draws": 2, "random_state": 0},
    "elbo": {"n_draws": 2, "random_state": 0},
    "iwae": {"n_draws": 2, "random_state": 0},
    "sample": {"random_state": 0},
}


def _kill_after_an_epoch(session):
    if session.n_epochs == 1:
        raise SystemExit


@pytest.fixture
def use_all_methods(tmp_path, meddle):
    """Returns a function that calls every method of ``make(name, device="cuda")`` on rows that are there.

    Inside ``gpu()`` there is a device "cuda"; what is saved there is then used on the CPU.
    """

    def use(make, name, X, gpu=nullcontext):
        model = make(name, device="cuda")
        with gpu():
            rows = torch.from_numpy(X).to("cuda")
            with meddle(_kill_after_an_epoch, before="epoch"), pytest.raises(SystemExit):
                model.fit(rows, X_val=rows[:30], checkpoint=tmp_path / "run")
            model.fit(rows, X_val=rows[:30], checkpoint=tmp_path / "run")
            assert model.resumed_epoch_ == 1
            codes = model.transform(rows)
            for made in (codes, model.inverse_transform(codes), model.reconstruct(rows)):
                assert made.device.type == "cuda"
            assert isinstance(model.transform(X), np.ndarray)
            np.testing.assert_allclose(model.transform(X), codes.cpu().numpy(), rtol=1e-4, atol=1e-5)
            model.encode(rows)
            model.reconstruction_error(rows)
            model.score(X)
            model.partial_fit(rows)
            make(name, device="cuda", max_iter=1).fit_stream([X[:50], X[50:]], X_val=X[:30])
            for method, arguments in OWN_METHODS.items():
                if hasattr(model, method):
                    getattr(model, method)(*((3,) if method == "sample" else (rows,)), **arguments)
            model.save(tmp_path / "model")
            loaded = skvardict.load(tmp_path / "model")
            on_gpu = loaded.transform(X)
            loaded.partial_fit(X)
        with warnings.catch_warnings():  # that it was fitted with another device
            warnings.simplefilter("ignore")
            elsewhere = skvardict.load(tmp_path / "model").set_params(device="cpu")
        # A row may take an iteration more, or another draw for its best.
        assert np.isclose(elsewhere.transform(X), on_gpu, rtol=1e-3, atol=1e-3).mean() > 0.97

    return use
