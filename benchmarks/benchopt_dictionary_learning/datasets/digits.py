"""Digits of scikit-learn, 8 x 8 pixels, not centred, so that NMF can take part."""

import numpy as np
from benchopt import BaseDataset
from sklearn.datasets import load_digits


class Dataset(BaseDataset):
    name = "digits"
    parameters = {"n_components": [64]}
    test_parameters = {"n_components": [16]}

    def get_data(self):
        X = load_digits().data
        X = (X / X.std()).astype(np.float32)[np.random.RandomState(0).permutation(len(X))]
        return {"X": X[:1437], "X_test": X[1437:], "n_components": self.n_components, "alpha": 0.64}
