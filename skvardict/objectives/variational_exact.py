"""Variational sparse coding without draws: the evidence lower bound in closed form, for linear decoders.

Components are independent under the posterior. With mean m_j and variance v_j of a code's entries, a row has the loss

    L = 1/d |x - D(m)|^2 + 1/d sum_j v_j |w_j|^2 + kl_weight sum_j KL(q(z_j|x) || p(z_j))

with atoms w_j: the mean over all draws of the loss of one. Its gradient is exact, also that of gates, through which
draws pass none. For an entry that is on with probability p, of mean mu and variance s^2 where it is,

    m = p mu,    v = p (mu^2 + s^2) - m^2,    KL = p (KL_slab + log p/p_0) + (1 - p) log (1 - p)/(1 - p_0).

The last two terms, the divergence of the gate, may be taken of the aggregate posterior instead, with the mean of p over
the rows of a batch in the place of p: it holds components at their share p_0, and rows are free to be on or off.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict.functional import per_batch
from skvardict.models.masked_variational import MaskedVariationalModel
from skvardict.objectives._variational import BaseVariationalObjective
from skvardict.objectives.recorded import may_be_recorded, recorded_step
from skvardict.training.protocol import ParameterGroup, Statistics, Step, Sums


class _Expectations(NamedTuple):
    """Means over the codes of rows: their moments and P(on), (..., n, l); error (..., n), divergence (..., n, l)."""

    mean: Tensor
    variance: Tensor
    on: Tensor
    error: Tensor
    kl: Tensor


@dataclass
class ExactVariationalObjective(BaseVariationalObjective):
    """Losses and validation energy of a variational sparse coder with a linear decoder, in closed form.

    Parameters
    ----------
    model, atom_norm, dictionary_learning_rate
        As in :class:`BaseVariationalObjective`.
    divergence : {"row", "aggregate"}
        Of the gates: of the posterior of every row, or of their mean over the rows.
    gives_statistics : bool
        Whether atoms are moved by statistics of the codes; the losses then have no gradient in them.
    """

    divergence: str = "row"
    gives_statistics: bool = False

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trained tensors of encoder and decoder."""
        encoder, decoder = super().parameter_groups()
        return [encoder, ParameterGroup(**{**vars(decoder), "atom_norm": self.atom_norm})]

    def step(self, X: Tensor, generator: Any) -> Step:
        """Return the losses of a batch, ready for one backward pass, and sums for the history; nothing is drawn.

        On a GPU all of it is one launch, and gradients are made here.
        """
        modules = self.modules().values()
        if not isinstance(self.model, MaskedVariationalModel) and may_be_recorded(X, modules):
            return recorded_step(_step_of, (self, X), modules)
        return self._made(X)

    def _made(self, X: Tensor) -> Step:
        made = self._expectations(X, self._atoms_in_training)
        self.model.follow_noise_(made.error, X)
        kl = made.kl.sum(-1).mean(-1)
        if self.divergence == "aggregate":
            of_batch = ranks.all_mean(made.on.mean(-2), made.on.shape[-2])
            kl = kl + (self._gate_kl(of_batch) - self._gate_kl(made.on).mean(-2)).sum(-1)
        losses = {"reconstruction": made.error.mean(-1), "kl": per_batch(self.model.weights["kl"]) * kl}
        if not self.gives_statistics:
            return Step(losses, self._sums(made))
        return Step({"encoder": sum(losses.values())}, self._sums(made), self._statistics(X, made))  # type: ignore[dict-item]

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch."""
        with self.model.evaluating():
            made = self._expectations(X, lambda mean, variance: self._components)
            mean_error = self.model.mean_observed_error(X, self.model.decode(made.mean))
        return {
            **self._sums(made),
            "mean_reconstruction": mean_error.sum(-1),
            **self.model.totals(X),
        }

    @property
    def _components(self) -> Tensor:
        return self.model.decoder.components  # type: ignore[return-value]

    def _expectations(self, X: Tensor, atoms_for) -> _Expectations:
        latent, posterior = self.model.latent, self.model.posterior(X)
        mean, variance = latent.moments(posterior)
        atoms = atoms_for(mean, variance)
        decoded = torch.func.functional_call(self.model.decoder, {"components": atoms}, (mean,))
        error = self.model.expected_error(X, decoded, variance, atoms)
        return _Expectations(mean, variance, latent.on(posterior), error, latent.code_kl(posterior, mean))

    def _atoms_in_training(self, mean: Tensor, variance: Tensor) -> Tensor:
        if self.gives_statistics:
            return self._components.detach()
        if self.dictionary_learning_rate is None:
            return self._components
        with torch.no_grad():
            second_moment = ranks.all_sum(_second_moment(mean, variance))
        return self._limited(self._components, second_moment, ranks.all_count(mean.shape[-2]))

    @torch.no_grad()
    def _statistics(self, X: Tensor, made: _Expectations) -> Statistics:
        """Return what the minimum of the expected error over the atoms depends on."""
        cross = self.model.cross_moment(X, made.mean, made.variance)
        return Statistics(made.mean, _second_moment(made.mean, made.variance), cross)

    def _gate_kl(self, on: Tensor) -> Tensor:
        """Return the divergence of gates that are on with these probabilities from those of the prior."""
        prior = self.model.latent.prior_activation_probability
        if prior == 1:  # dense codes have none
            return torch.zeros_like(on)
        eps = torch.finfo(on.dtype).eps
        on = on.clamp(eps, 1 - eps)  # of gates that are closed in all rows: the logarithm has no slope at zero
        return torch.xlogy(on, on / prior) + torch.xlogy(1 - on, (1 - on) / (1 - prior))

    def _means(self, sums: Sums, n_rows: float) -> dict[str, float]:
        means = super()._means(sums, n_rows)
        if self.divergence == "aggregate":
            gates = self._gate_kl(sums["on"] / n_rows).sum() - sums["gate_kl"] / n_rows
            means["kl"] += float(gates)
        return means

    def _sparsity(self, sums: Sums) -> float:
        return 1 - float(sums["on"].sum()) / (float(sums["n_rows"]) * sums["on"].numel())

    def _entries(self, sums: Sums) -> dict[str, float]:
        # Of draws, fewer than one would be on in the whole epoch.
        return {"sparsity": self._sparsity(sums), "n_dead": int((sums["on"] < 1).sum())}

    @torch.no_grad()
    def _sums(self, made: _Expectations) -> Sums:
        kl_by_component = made.kl.sum(-2)
        sums = {
            "n_rows": made.error.shape[-1],
            "reconstruction": made.error.sum(-1),
            "kl": kl_by_component.sum(-1),
            "kl_by_component": kl_by_component,
            "on": made.on.sum(-2),
        }
        return sums if self.divergence == "row" else sums | {"gate_kl": self._gate_kl(made.on).sum((-2, -1))}

    def together(
        self,
        members: Sequence["ExactVariationalObjective"],
        modules: Mapping[str, nn.Module],
        state: Mapping[str, Tensor],
    ) -> "ExactVariationalObjective":
        """Return the objective of several models as one; `modules` hold their parameters along a first axis."""
        return type(self)(**self._together(members, modules))


def _step_of(objective: ExactVariationalObjective, X: Tensor) -> Step:
    return objective._made(X)


def _second_moment(mean: Tensor, variance: Tensor) -> Tensor:
    """Return the mean of ``Z^T Z`` over codes with these moments, shape (..., l, l)."""
    return mean.mT @ mean + torch.diag_embed(variance.sum(-2))
