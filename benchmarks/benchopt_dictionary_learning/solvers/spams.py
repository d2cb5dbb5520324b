"""SPAMS `trainDL`, the authors' code of online dictionary learning (Mairal et al. 2010)."""

import numpy as np
import spams
from benchopt import BaseSolver


class Solver(BaseSolver):
    name = "SPAMS"
    requirements = ["pip::spams-bin"]
    sampling_strategy = "iteration"

    def set_objective(self, X, n_components, alpha, positive_code):
        self.X = np.asfortranarray(X.T)
        self.settings = {"K": n_components, "lambda1": alpha, "mode": 2, "posAlpha": positive_code, "batchsize": 400}

    def run(self, n_iter):
        np.random.seed(0)  # noqa: NPY002 - the generator that SPAMS draws from
        self.dictionary = spams.trainDL(self.X, iter=max(n_iter, 1), numThreads=1, verbose=False, **self.settings)

    def get_result(self):
        return {"dictionary": np.array(self.dictionary.T)}
