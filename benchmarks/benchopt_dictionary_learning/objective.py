"""How good a dictionary is on rows that it was not learnt from."""

import numpy as np
from benchopt import BaseObjective

from skvardict import sparse_encode
from skvardict.energies import from_sklearn_alpha


class Objective(BaseObjective):
    """The lasso of held-out rows under atoms of norm one, to a duality gap, and planted atoms that were found."""

    name = "Dictionary learning"
    min_benchopt_version = "1.7"
    requirements = ["pip::skvardict"]
    parameters = {"positive_code": [True, False]}
    sampling_strategy = "iteration"

    def set_data(self, X, X_test, n_components, alpha, planted=None):
        self.X, self.X_test, self.n_components, self.alpha, self.planted = X, X_test, n_components, alpha, planted

    def get_objective(self):
        return {
            "X": self.X,
            "n_components": self.n_components,
            "alpha": self.alpha,
            "positive_code": self.positive_code,
        }

    def evaluate_result(self, dictionary):
        atoms = unit_norm(np.asarray(dictionary, dtype=np.float64))
        X = self.X_test.astype(np.float64)
        alpha = from_sklearn_alpha(self.alpha, X.shape[1])
        codes = sparse_encode(X, atoms, alpha=alpha, positive=self.positive_code, tol=1e-5)
        squares = ((X - codes @ atoms) ** 2).sum(axis=1)
        result = {
            "value": float((squares / 2 + self.alpha * np.abs(codes).sum(axis=1)).mean()),
            "r2": float(1 - squares.sum() / ((X - X.mean(axis=0)) ** 2).sum()),
            "sparsity": float((codes == 0).mean()),
        }
        if self.planted is not None:
            cosines = np.abs(unit_norm(self.planted) @ atoms.T)
            result["recovered"] = float((cosines.max(axis=1) > 0.95).mean())
        return result

    def get_one_result(self):
        """Return rows as atoms: what a learnt dictionary has to beat."""
        rows = np.random.RandomState(0).choice(len(self.X), self.n_components, replace=False)
        return {"dictionary": self.X[rows]}


def unit_norm(atoms):
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    return atoms / np.where(norms > 0, norms, 1)
