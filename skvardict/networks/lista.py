"""LISTA, an encoder that imitates a few iterations of a solver."""

from numbers import Integral

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skvardict._sklearn import Interval
from skvardict._utils.parameters import Part, parameter, with_parameters
from skvardict.functional import affine, soft_threshold
from skvardict.networks._init import uniform_fan_in


@with_parameters
class LISTA(Part):
    """The part for :class:`LISTAEncoder`; predicts codes, so it is an encoder of dictionary models only.

    Examples
    --------
    >>> from skvardict.networks import LISTA
    >>> LISTA(5)
    LISTA(n_iter=5)
    """

    n_iter: int = parameter(
        default=3,
        accepts=[Interval(Integral, 0, None, closed="left")],
        kind="int",
        text="Recurrent steps.",
        kw_only=False,
    )

    def build_code_encoder(
        self, n_features: int, n_components: int, *, positive: bool, generator: torch.Generator
    ) -> nn.Module:
        """Return a fresh encoder, with weights drawn from `generator`."""
        self.check()
        return LISTAEncoder(n_features, n_components, n_iter=self.n_iter, positive=positive, generator=generator)


class _Recurrence(torch.autograd.Function):
    """The codes ``z_n`` of non-negative LISTA; what autograd would do in thirty small steps."""

    @staticmethod
    def forward(ctx, X: Tensor, weights: Tensor, bias: Tensor, recurrent: Tensor, n_iter: int) -> Tensor:
        drive = affine(bias, X, weights)
        codes = [drive.relu()]
        for _ in range(n_iter):
            codes.append(affine(drive, codes[-1], recurrent).relu_())
        ctx.save_for_backward(X, weights, bias, recurrent, *codes)
        return codes[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor):
        X, weights, bias, recurrent, *codes = ctx.saved_tensors
        of_recurrent, of_drive = None, None
        for after, before in zip(codes[:0:-1], codes[-2::-1], strict=True):
            upstream = _through_relu(upstream, after)
            of_drive = upstream if of_drive is None else of_drive + upstream
            of_recurrent = before.mT @ upstream if of_recurrent is None else affine(of_recurrent, before.mT, upstream)
            upstream = upstream @ recurrent.mT
        upstream = _through_relu(upstream, codes[0])
        of_drive = upstream if of_drive is None else of_drive + upstream
        of_bias = of_drive.sum(-2, keepdim=True).sum_to_size(bias.shape)
        of_X = of_drive @ weights.mT if ctx.needs_input_grad[0] else None
        return of_X, X.mT @ of_drive, of_bias, of_recurrent, None


def _through_relu(upstream: Tensor, codes: Tensor) -> Tensor:
    """Return the gradient before a ReLU that gave `codes`."""
    return torch.ops.aten.threshold_backward(upstream, codes, 0)


class LISTAEncoder(nn.Module):
    """Learned ISTA: ``u = x U + b, z_0 = relu(u), z_i = relu(u + z_{i-1} S)``, i = 1..n_iter.

    With signed codes ReLU gives way to soft thresholding with a learned non-negative threshold per component.

    Parameters
    ----------
    n_features, n_components : int
    n_iter : int
        Number of recurrent steps; 3 in the paper.
    positive : bool
        Whether codes are non-negative.
    generator : torch.Generator
        Draws the initial weights.

    References
    ----------
    Gregor & LeCun, Learning fast approximations of sparse coding, ICML 2010.
    Evtimova & LeCun, TMLR 2022, algorithm 1.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        *,
        n_iter: int = 3,
        positive: bool = True,
        generator: torch.Generator,
    ):
        super().__init__()
        self.n_iter = n_iter
        self.input = nn.Parameter(uniform_fan_in(n_features, n_components, fan_in=n_features, generator=generator))
        self.recurrent = nn.Parameter(
            uniform_fan_in(n_components, n_components, fan_in=n_components, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(n_components))
        # softplus(-2) = 0.13: small against codes of unit scale, and with a gradient that is alive.
        self.raw_threshold = None if positive else nn.Parameter(torch.full((n_components,), -2.0))

    def forward(self, X: Tensor) -> Tensor:
        """Return the predicted codes."""
        if self.raw_threshold is None:
            return _Recurrence.apply(X, self.input, self.bias, self.recurrent, self.n_iter)
        drive = affine(self.bias, X, self.input)
        threshold = nn.functional.softplus(self.raw_threshold)
        codes = soft_threshold(drive, threshold)
        for _ in range(self.n_iter):
            codes = soft_threshold(affine(drive, codes, self.recurrent), threshold)
        return codes

    @torch.no_grad()
    def follow_(self, before: Tensor, after: Tensor) -> None:
        """Move the input weights along with atoms that moved from `before` to `after`.

        Column j of ``U`` changes by ``k_j (w_j' - w_j)`` with ``k_j = U_j w_j / |w_j|^2``: to first order, the drive of
        component j then answers to the new atom as it did to the old one.
        """
        size = before.square().sum(-1, keepdim=True).clamp_min(torch.finfo(before.dtype).tiny)
        share = (self.input.mT * before).sum(-1, keepdim=True) / size
        self.input.addcmul_((after - before).mT, share.mT)

    @torch.no_grad()
    def restart_(self, components: Tensor, atoms: Tensor, others: Tensor) -> None:
        """Let some components answer to new atoms as others do to theirs, free of inhibition.

        Parameters
        ----------
        components, others : Tensors of indices
            Which begin anew, and which set the example: ``k_j = U_j w_j / |w_j|^2`` and the bias are their medians.
        atoms : Tensor of shape (n_components, n_features)
            All of them.
        """
        size = atoms.square().sum(1).clamp_min(torch.finfo(atoms.dtype).tiny)
        share = (self.input.mT * atoms).sum(1) / size
        self.input[:, components] = (atoms[components] * share[others].median()).mT
        self.bias[components] = self.bias[others].median()
        self.recurrent[components], self.recurrent[:, components] = 0, 0
