"""The FISTA baseline of Fallah & Rozell: signed codes, dictionary steps with weight decay, a warm-up of lambda."""

import numpy as np

from skvardict import WeightDecayDictionaryLearning
from skvardict.training import SGD, StepDecay

N_FEATURES = 256
ALPHA = 20 * 2 / N_FEATURES  # lambda = 20 in the paper's units


class WarmedUpSparseCoding(WeightDecayDictionaryLearning):
    """Weight-decay dictionary learning whose `alpha` rises linearly from a tenth over a share of the epochs.

    At full lambda the random atoms of the start (|a| = 1, a.x of deviation 1) explain nothing: all codes are zero,
    and the dictionary gets no gradient.
    """

    warmup = 9000 / 240_000  # share of training, as in the paper

    def fit(self, X, y=None):
        """Make `max_iter` passes, each with the `alpha` of its epoch."""
        alpha = self.alpha
        try:
            for epoch in range(self.max_iter):
                self.set_params(alpha=alpha * min(1.0, 0.1 + 0.9 * epoch / (self.warmup * self.max_iter)))
                self.partial_fit(X)
        finally:
            self.set_params(alpha=alpha)
        return self


def unit_norm_atoms(n_components: int, seed: int) -> np.ndarray:
    atoms = np.random.default_rng(seed).normal(size=(n_components, N_FEATURES)).astype(np.float32)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def build_fista(n_components: int, *, epochs: int, seed: int, batch_size: int = 100, kappa: float = 1e-3):
    """Return the baseline; A += eta (mean(r z^T) - 2 kappa A), eta = 0.5 x 0.99^epoch, in the package's units."""
    return WarmedUpSparseCoding(
        n_components,
        alpha=ALPHA,
        weight_decay=4 * kappa / N_FEATURES,
        encoder=None,
        positive_code=False,
        optimizer=SGD(
            0.5 * N_FEATURES / 2, momentum=0, nesterov=False, max_grad_norm=None, schedule=StepDecay(0.99, 1, total=300)
        ),
        init=unit_norm_atoms(n_components, seed),
        batch_size=batch_size,
        max_iter=epochs,
        early_stopping=False,
        random_state=seed,
    )
