"""`StandardDictionaryLearning` without an encoder: atoms from running sums; and with one, by gradients."""

from benchopt import BaseSolver

from skvardict import StandardDictionaryLearning
from skvardict.energies import from_sklearn_alpha


class Solver(BaseSolver):
    name = "skvardict"
    parameters = {"encoder": [None, "lista"]}
    sampling_strategy = "iteration"

    def set_objective(self, X, n_components, alpha, positive_code):
        self.X = X
        self.settings = {
            "n_components": n_components,
            "alpha": from_sklearn_alpha(alpha, X.shape[1]),
            "positive_code": positive_code,
            "encoder": self.encoder,
            "random_state": 0,
        }

    def run(self, n_iter):
        self.model = StandardDictionaryLearning(**self.settings, max_iter=max(n_iter, 1)).fit(self.X)

    def get_result(self):
        return {"dictionary": self.model.components_}
