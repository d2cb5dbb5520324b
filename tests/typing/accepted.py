"""What a user writes: `mypy --strict` accepts it, and knows the types that are asserted."""

import tempfile
from pathlib import Path
from typing import assert_type

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skvardict import (
    SparseVAE,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    alpha_max,
    load,
    sparse_encode,
)
from skvardict.distributions import StudentT
from skvardict.evaluation import evaluate_codes, fit_or_load
from skvardict.networks import LISTA, MLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.solvers import FISTA
from skvardict.training import Adam, EarlyStopping


def main() -> None:
    X = np.random.default_rng(0).standard_normal((60, 8))
    X = np.asarray(GlobalStandardizer().fit(X).transform(X))

    coder = VarianceDictionaryLearning(
        4,
        alpha=0.01,
        encoder=LISTA(2),
        solver=FISTA(tol=1e-2),
        optimizer=Adam(1e-3),
        early_stopping=EarlyStopping(validation_fraction=0.5),
        max_iter=50,
        random_state=0,
    )
    assert_type(coder.fit(X), VarianceDictionaryLearning)
    codes = coder.transform(X)
    print(codes.mean(axis=0), coder.transform(torch.from_numpy(X)).relu(), coder.encode(X).n_iter)
    print(coder.inverse_transform(codes).T, coder.score(X) + 1, coder.components_.shape, coder.energy(X)["total"])
    assert_type(coder.partial_fit(X), VarianceDictionaryLearning)
    assert_type(coder.decoder_, nn.Module)

    parts = StandardDictionaryLearning(4, positive_dict=True, split_sign=True, max_iter=1, random_state=0).fit(X)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=20, generator=torch.Generator())
    assert_type(parts.fit_stream(loader), StandardDictionaryLearning)
    assert_type(parts.load_modules(decoder=parts.decoder_, encoder=parts.encoder_), StandardDictionaryLearning)
    print(parts.reconstruction_error(X).mean(), parts.reconstruction_error(torch.from_numpy(X)).relu())

    with tempfile.TemporaryDirectory() as folder:
        coder.save(Path(folder) / "coder.skv")
        print(load(f"{folder}/coder.skv", device="cpu").transform(X.tolist()).shape)
        print(fit_or_load(coder, X, folder=folder).score(X))

    vae = SparseVAE(4, encoder=MLP((8,)), prior=StudentT(df=2.0), max_iter=1).fit_stream([X[:30], X[30:]])
    print(vae.sample(3).shape, vae.elbo(X).mean(), vae.posterior_params(X)["mean"].shape)
    assert_type(ThresholdedVSC(4, encoder=MLP((8,)), max_iter=1).fit(X).threshold_, float)

    alpha = alpha_max(X, coder.components_) / 2
    print(sparse_encode(X, coder.components_, alpha=alpha).shape, evaluate_codes(coder, X)["psnr"])
