"""The classifier of the papers' few-label experiments: one linear layer on raw codes, trained for a fixed time."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skvardict._utils.random import make_generator
from skvardict.training import Adam, ParameterGroup

_EPOCHS, _BATCH_SIZE, _LEARNING_RATE = 100, 250, 1e-3


class LinearLayer:
    """Scores ``X w + b`` by Adam on cross-entropy: 100 epochs at a rate of 1e-3, the last of which counts.

    Rows are neither scaled nor is anything chosen on validation, so that with few labels (of ten rows an epoch is one
    step) it ends far from the minimum: a protocol to compare with, not one to use. Weights start uniform within
    ``1 / sqrt(n_features)``.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, figure 9.
    """

    def __init__(self, random_state: int):
        self.random_state = random_state

    def fit(self, X: NDArray, y: NDArray) -> "LinearLayer":
        """Train on all rows."""
        self.classes_, labels = np.unique(y, return_inverse=True)
        generator = make_generator(self.random_state)
        rows, targets = torch.tensor(X, dtype=torch.float32), torch.tensor(labels)
        self._layer = nn.utils.skip_init(nn.Linear, rows.shape[1], len(self.classes_))
        bound = max(rows.shape[1], 1) ** -0.5
        for parameter in self._layer.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        steps = Adam(_LEARNING_RATE).start([ParameterGroup("layer", dict(self._layer.named_parameters()))])
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(rows), generator=generator).split(_BATCH_SIZE):
                steps.descend([nn.functional.cross_entropy(self._layer(rows[batch]), targets[batch])])
        return self

    @torch.no_grad()
    def scores(self, X: NDArray) -> NDArray:
        """Return the scores of the classes, shape (n_samples, n_classes)."""
        return self._layer(torch.tensor(X, dtype=torch.float32)).numpy()
