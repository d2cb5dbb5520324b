"""scikit-learn's dictionary learning, in mini-batches and in one batch."""

import warnings

from benchopt import BaseSolver
from sklearn.decomposition import DictionaryLearning, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning


class Solver(BaseSolver):
    name = "scikit-learn"
    parameters = {"estimator": ["mini-batch", "batch"]}
    sampling_strategy = "iteration"

    def skip(self, X, **objective):
        too_many = self.estimator == "batch" and len(X) > 5000
        return too_many, "the batch estimator takes hours on so many rows" if too_many else None

    def set_objective(self, X, n_components, alpha, positive_code):
        self.X, self.dictionary = X, X[:n_components]
        self.settings = {
            "n_components": n_components,
            "alpha": alpha,
            "positive_code": positive_code,
            "fit_algorithm": "cd",
            "transform_algorithm": "lasso_cd",
            "random_state": 0,
        }

    def run(self, n_iter):
        if n_iter == 0:  # the rows that learning could start from
            return
        cls = DictionaryLearning
        settings = {"tol": 0.0, "max_iter": n_iter}
        if self.estimator == "mini-batch":
            cls = MiniBatchDictionaryLearning
            settings["max_no_improvement"] = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # codes of single batches, thousands of them
            self.dictionary = cls(**self.settings, **settings).fit(self.X).components_

    def get_result(self):
        return {"dictionary": self.dictionary}
