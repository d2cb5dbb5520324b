"""MNIST, from the folder that `SKVARDICT_DATA` names."""

import numpy as np
from benchopt import BaseDataset

from skvardict.datasets import fetch_mnist


class Dataset(BaseDataset):
    name = "mnist"
    parameters = {"n_samples": [20_000], "n_components": [128]}

    def get_data(self):
        X, X_test = fetch_mnist("train").data, fetch_mnist("test").data[:2000]
        X = X[np.random.RandomState(0).permutation(len(X))[: self.n_samples]]
        return {"X": X, "X_test": X_test, "n_components": self.n_components, "alpha": 3.92}
