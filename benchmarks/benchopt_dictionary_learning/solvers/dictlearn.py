"""dictlearn's dictionary learning with the L1 penalty, whose codes have both signs."""

from benchopt import BaseSolver
from dictlearn import L1DictionaryLearning


class Solver(BaseSolver):
    name = "dictlearn"
    requirements = ["pip::dictlearn"]
    sampling_strategy = "iteration"

    def skip(self, X, positive_code, **objective):
        return positive_code, "codes have both signs" if positive_code else None

    def set_objective(self, X, n_components, alpha, positive_code):
        # Its errors are not halved.
        self.X, self.settings = X, {"n_components": n_components, "alpha": 2 * alpha, "random_state": 0}

    def run(self, n_iter):
        self.model = L1DictionaryLearning(**self.settings, max_iter=max(n_iter, 1)).fit(self.X)

    def get_result(self):
        return {"dictionary": self.model.components_}
