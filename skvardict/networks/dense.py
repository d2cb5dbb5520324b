"""Dense layers, of one network or of several at once."""

import torch
from torch import Tensor, nn

from skvardict.functional import affine


class Dense(nn.Linear):
    """``x W^T + b``; with a first axis of `weight` (m, k, d) and `bias` (m, 1, k), m layers on rows (m, n, d)."""

    def forward(self, X: Tensor) -> Tensor:
        """Return the outputs."""
        if self.weight.dim() == 2:
            return super().forward(X)
        return torch.bmm(X, self.weight.mT) if self.bias is None else affine(self.bias, X, self.weight.mT)
