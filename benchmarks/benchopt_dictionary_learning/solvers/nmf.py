"""scikit-learn's non-negative matrix factorisation, where rows and codes are non-negative."""

import warnings

from benchopt import BaseSolver
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning


class Solver(BaseSolver):
    name = "NMF"
    sampling_strategy = "iteration"

    def skip(self, X, positive_code, **objective):
        negative = not positive_code or (X < 0).any()
        return negative, "rows and codes have to be non-negative" if negative else None

    def set_objective(self, X, n_components, alpha, positive_code):
        self.X, self.n_components = X, n_components

    def run(self, n_iter):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a run ends where the benchmark says
            self.model = NMF(self.n_components, init="random", max_iter=max(n_iter, 1), tol=0, random_state=0)
            self.model.fit(self.X)

    def get_result(self):
        return {"dictionary": self.model.components_}
