"""Rows made of four atoms each of a dictionary that is known."""

from benchopt import BaseDataset

from skvardict.datasets import make_sparse_coded_signals


class Dataset(BaseDataset):
    name = "planted"
    parameters = {"n_samples": [1000], "n_components": [32]}
    test_parameters = {"n_samples": [200], "n_components": [8]}

    def get_data(self):
        X, _, atoms = make_sparse_coded_signals(
            self.n_samples + 500, 64, self.n_components, noise_std=0.01, random_state=0
        )
        return {
            "X": X[: self.n_samples],
            "X_test": X[self.n_samples :],
            "n_components": self.n_components,
            "alpha": 0.05,
            "planted": atoms,
        }
