"""The importance-weighted bound of Burda et al. as a training loss, and its gradient for codes with zeros.

Per row, with J draws ``z^k`` of the posterior and the weights ``w_k = p(x, z^k) / q(z^k | x)``, the loss is

    L = -kl_weight log 1/J sum_k w_k        (up to a constant),

in the units of the package. Where codes are a differentiable function of the noise (dense families) its gradient is the
mean of those of ``-kl_weight log w_k``, by the normalised weights.

A code with zeros jumps where a component goes on or off. The exact gradient of the mean loss then has two parts: the
one above with the support of each draw held fixed, where values given the support are differentiable, and the gradient
of the log-probability of the support, times what the draw adds to the bound. What it adds is measured against the bound
of the other draws, which does not depend on it, so that nothing but noise is taken away.

References
----------
Burda, Grosse & Salakhutdinov, Importance weighted autoencoders, ICLR 2016, eq. 8 and 13. Mnih & Rezende, Variational
inference for Monte Carlo objectives, ICML 2016, eq. 7-10; the mean over the other draws is the arithmetic one here.
Figurnov, Mohamed & Mnih, Implicit reparameterization gradients, NeurIPS 2018, for values given the support.
"""

from collections.abc import Callable
from math import log
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvardict.functional import Weight, is_on, per_row
from skvardict.models import VariationalModel
from skvardict.models.latents import Anneal, Noise


class ReducedDraws(NamedTuple):
    """What a batch's draws come to.

    Attributes
    ----------
    codes : Tensor of shape (n, l) or (J, n, l)
    error : Tensor of shape (n,)
    terms : dict of Tensor of shape (n,)
        Divergences by name; with their weights and the error they are the loss.
    support : Tensor of shape (n,) or None
        Zeros, with the gradient through the support; None where there is none.
    """

    codes: Tensor
    error: Tensor
    terms: dict[str, Tensor]
    support: Tensor | None = None


def softmax_weights(loss: Tensor, kl_weight: Weight) -> Tensor:
    """Return the softmax of ``-loss / kl_weight`` over the draws, (J, n); at a weight of zero its limit."""
    if not is_on(kl_weight):
        return nn.functional.one_hot(loss.argmin(0), len(loss)).movedim(-1, 0).to(loss.dtype)
    return torch.softmax(-loss / kl_weight, 0)


def importance_weighted(
    model: VariationalModel, X: Tensor, posterior: Any, noise: Noise, anneal: Anneal, decode: Callable[[Tensor], Tensor]
) -> ReducedDraws:
    """Return the importance-weighted loss of the rows by its terms.

    The term "kl" is ``sum_k v_k (log q - log p)(z^k) + sum_k v_k log(J v_k)`` for normalised weights v, so that
    ``error + kl_weight * kl`` is the loss; the weights are constants of its gradient, since it has none in them.
    """
    law = model.latent.warmed(posterior, anneal)
    codes, log_support = model.latent.scored_codes(law, noise)
    error = model.error(X, decode(codes))
    ratio = model.latent.log_ratio(law, codes).sum(-1)
    kl_weight = per_row(model.weights["kl"])
    loss = error - kl_weight * ratio
    weights = softmax_weights(loss.detach(), kl_weight)
    kl = log(len(loss)) - torch.special.entr(weights).sum(0) - (weights * ratio).sum(0)
    others = {name: torch.zeros_like(kl) for name in model.weights if name != "kl"}  # they are part of the law
    support = None
    if log_support is not None and is_on(kl_weight):
        gain = kl_weight * _gains(-loss.detach() / kl_weight)
        support = -(gain * (log_support - log_support.detach())).sum(0)
    return ReducedDraws(codes, (weights * error).sum(0), {"kl": kl} | others, support)


def _gains(log_weights: Tensor) -> Tensor:
    """Return what every draw adds to ``log 1/J sum_k w_k`` beside the other draws, (J, n)."""
    n_draws = len(log_weights)
    total = torch.logsumexp(log_weights, 0)
    largest = log_weights.argmax(0, keepdim=True)
    others = total + torch.log1p(-torch.softmax(log_weights, 0).scatter(0, largest, 0))
    # Without the largest weight there is little left, which a difference would lose.
    without = torch.logsumexp(log_weights.scatter(0, largest, -torch.inf), 0, keepdim=True)
    others = others.scatter(0, largest, without)
    return (total - log(n_draws)) - (others - log(n_draws - 1))
