"""Better posteriors than an encoder gives in one pass: mean-field steps in closed form, for a spike and slab.

With a linear decoder the loss of a row, the mean over codes of ``1/d |x - D(z)|^2`` plus ``w KL(q || p)``, has its
minimum over the posterior of one component, all others being held, at

    1/v = 1/v_0 + 2 a / w,    mu = 2 c v / w,    log-odds = log-odds_0 + 1/2 log(v / v_0) + mu^2 / (2 v)

with ``a = |w_j|^2 / d`` and ``c = <x - sum_{k != j} m_k w_k, w_j> / d``. In natural parameters the way from a posterior
to these minima, taken for all components at once, is the natural gradient: a step along it that is short enough lowers
the loss. Rows have steps of their own, halved where the loss rose.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from skvardict.distributions import SpikeAndSlab, kl_divergence
from skvardict.functional import gram

_LONGER = 1.5  # what a step that was taken does to the next one


class _Problem(NamedTuple):
    """The loss of rows in terms of products with the atoms; `correlation` is ``X W^T / d``, `gram` ``W W^T / d``."""

    prior: SpikeAndSlab
    correlation: Tensor
    gram: Tensor
    size: Tensor
    weight: float

    def loss(self, posterior: SpikeAndSlab) -> Tensor:
        """Return the loss of every row, (n,)."""
        mean = posterior.mean
        error = self.size + ((mean @ self.gram - 2 * self.correlation) * mean).sum(-1)
        error = error + posterior.variance @ self.gram.diagonal()
        return error + self.weight * kl_divergence(posterior, self.prior).sum(-1)

    def minima(self, posterior: SpikeAndSlab) -> tuple[Tensor, Tensor, Tensor]:
        """Return natural parameters of the best posterior of each component while the others are held."""
        norms, mean = self.gram.diagonal(), posterior.mean
        left = self.correlation - mean @ self.gram + mean * norms
        gate, _, square = self.prior.natural
        return gate.expand_as(mean), 2 * left / self.weight, (square - norms / self.weight).expand_as(mean)


def refine(posterior: SpikeAndSlab, prior: SpikeAndSlab, X: Tensor, atoms: Tensor, weight: Any, n_iter: int):
    """Return posteriors of no larger loss than those given, after `n_iter` steps.

    Parameters
    ----------
    posterior : SpikeAndSlab of shape (n, l)
    prior : SpikeAndSlab
        Its parameters are tensors.
    X : Tensor of shape (n, d)
        What the atoms have to reconstruct.
    atoms : Tensor of shape (l, d)
    weight : float
        Of the divergence; positive.
    n_iter : int

    Returns
    -------
    SpikeAndSlab

    References
    ----------
    Titsias & Lazaro-Gredilla, Spike and slab variational inference for multi-task and multiple kernel learning, NIPS
    2011 (the minima). Hoffman, Blei, Wang & Paisley, Stochastic variational inference, JMLR 2013 (the way to them).
    """
    d = X.shape[-1]
    problem = _Problem(prior, X @ atoms.mT / d, gram(atoms) / d, X.square().mean(-1), float(weight))
    step = torch.ones_like(X[:, :1])
    loss = problem.loss(posterior)
    for _ in range(n_iter):
        ends = zip(posterior.natural, problem.minima(posterior), strict=True)
        tried = SpikeAndSlab.from_natural(*(torch.lerp(start, end, step) for start, end in ends))
        loss_there = problem.loss(tried)
        is_lower = loss_there <= loss
        posterior = posterior.where(is_lower[:, None], tried)
        loss = torch.where(is_lower, loss_there, loss)
        step = torch.where(is_lower[:, None], (_LONGER * step).clamp_max(1), step / 2)
    return posterior
