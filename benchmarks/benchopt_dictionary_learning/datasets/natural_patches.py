"""8 x 8 patches of photographs without their means, from the folder that `SKVARDICT_DATA` names."""

from benchopt import BaseDataset

from skvardict.datasets import load_natural_patches


class Dataset(BaseDataset):
    name = "natural patches"
    parameters = {"n_samples": [50_000], "n_components": [256]}

    def get_data(self):
        X, X_test = (
            load_natural_patches(n, (8, 8), split=split, random_state=seed).data
            for n, split, seed in ((self.n_samples, "train", 0), (5000, "val", 1))
        )
        X, X_test = (rows - rows.mean(axis=1, keepdims=True) for rows in (X, X_test))
        scale = X.std()
        return {"X": X / scale, "X_test": X_test / scale, "n_components": self.n_components, "alpha": 0.64}
