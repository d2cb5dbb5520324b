"""Variational sparse coding: the evidence lower bound with J draws per row.

Per row, with codes z^j drawn from the posterior q(z|x) that the encoder gives, the loss of a draw is

    L_j = 1/d |x - D(z^j)|^2 + kl_weight KL(q(z|x) || p(z))        (KL summed over components)

and the J draws are reduced to their "mean", to the best of them ("max": the largest bound), or by softmax weights of
``-L_j / kl_weight`` held constant ("softmax"; the released code of Fallah & Rozell calls it iwae). "iwae" is the
importance-weighted bound, with the densities of the draws in the place of the divergence (:mod:`.importance`). Times
``-1 / kl_weight`` and up to a constant, L is the bound for a Gaussian likelihood of variance ``d kl_weight / 2``, but
for thresholded models, whose KL here is that of the base variables, as in the paper.

For "max" the draws are compared without a graph, and only the chosen one is made again with one: the gradient is the
same, at the cost of one draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict._utils.random import generator_for, make_generator
from skvardict.functional import count_active, per_batch, per_row, stack_weights
from skvardict.models.latents import Anneal, Noise
from skvardict.networks import LinearDecoder
from skvardict.objectives._variational import BaseVariationalObjective
from skvardict.objectives.importance import ReducedDraws, importance_weighted, softmax_weights
from skvardict.training.protocol import Position, Step, Sums

_EVALUATION_SEED = 0  # validation sees the same noise every epoch, or epochs could not be compared


@dataclass
class VariationalObjective(BaseVariationalObjective):
    """Losses, validation energy and schedules of a variational sparse coder whose posteriors are drawn from.

    Parameters
    ----------
    model, atom_norm, dictionary_learning_rate
        As in :class:`BaseVariationalObjective`.
    n_draws : int
    draw_reduction : {"max", "mean", "softmax", "iwae"}
    noise_warmup, temperature : callable or None
        Schedules of the warm-ups.
    """

    n_draws: int
    draw_reduction: str
    noise_warmup: Callable[[Position], float] | None = None
    temperature: Callable[[Position], float] | None = None
    anneal: Anneal = field(default_factory=Anneal)

    def advance_to(self, position: Position) -> None:
        """Set the warm-ups of noise and temperature."""
        schedules = {"noise": self.noise_warmup, "temperature": self.temperature}
        self.anneal = Anneal(**{name: schedule(position) for name, schedule in schedules.items() if schedule})

    def step(self, X: Tensor, generator: torch.Generator) -> Step:
        """Return the losses of a batch, ready for one backward pass, and sums for the history."""
        posterior = self.model.posterior(X)
        noise = self._chosen_noise(X, posterior, self._generator_of_step(X, generator), self.anneal)
        made = self._reduced(X, posterior, noise, self.anneal, self._decode_in_training)
        self.model.follow_noise_(made.error, X)
        losses = {"reconstruction": made.error.mean(-1)}
        losses |= {name: per_batch(self.model.weights[name]) * value.mean(-1) for name, value in made.terms.items()}
        if made.support is not None:
            losses["support"] = made.support.mean(-1)
        return Step(losses, self._sums(made.codes.detach(), made.error, made.terms))

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch, with all warm-ups at their end and the same noise every time."""
        with self.model.evaluating():
            posterior = self.model.posterior(X)
            noise = self._chosen_noise(X, posterior, self._generator_of_evaluation(X), Anneal())
            made = self._reduced(X, posterior, noise, Anneal(), self.model.decode)
            mean_codes = self.model.latent.summary(posterior)["code_mean"]
            mean_error = self.model.mean_observed_error(X, self.model.decode(mean_codes))
            kl = self.model.pooled(self.model.latent.kl(posterior, made.codes)["kl"])
        return {
            **self._sums(made.codes, made.error, made.terms),
            "mean_reconstruction": mean_error.sum(-1),
            **self.model.totals(X),
            "kl_by_component": kl.mean(-2) * X.shape[-2],
        }

    def _sparsity(self, sums: Sums) -> float:
        n_active = sums["n_active"]
        return 1 - float(n_active.sum()) / (float(sums["n_codes"]) * len(n_active))

    def _entries(self, sums: Sums) -> dict[str, float]:
        return {
            "draw_l1": float(sums["draw_l1"]) / float(sums["n_codes"]),
            "sparsity": self._sparsity(sums),
            # Draws of small noise hardly pass a threshold: in the warm-up that is no trouble.
            "n_dead": int((sums["n_active"] == 0).sum()) if self.anneal.is_over else 0,
            "noise_warmup": float(self.anneal.noise),
        }

    def together(
        self,
        members: Sequence["VariationalObjective"],
        modules: Mapping[str, nn.Module],
        state: Mapping[str, Tensor],
    ) -> "VariationalObjective":
        """Return the objective of several models as one; `modules` hold their parameters along a first axis."""
        return _ObjectivesTogether(**self._together(members, modules), members=members)

    def _generator_of_step(self, X: Tensor, generator: Any) -> Any:
        return generator_for(X.device, generator)

    def _generator_of_evaluation(self, X: Tensor) -> Any:
        return make_generator(_EVALUATION_SEED, X.device)

    @property
    def _keeps_one_draw(self) -> bool:
        return self.draw_reduction == "max" or (self.n_draws == 1 and self.draw_reduction != "iwae")

    def _chosen_noise(self, X: Tensor, posterior: Any, generator: Any, anneal: Anneal) -> Noise:
        """Return noise of one draw per row, (n, l), or of all where they are averaged, (J, n, l)."""
        with torch.no_grad():
            noise = self.model.draw_noise(posterior, self.n_draws, generator)
            if not self._keeps_one_draw:
                return noise
            if self.n_draws == 1:
                return tuple(part[0] for part in noise)
            return self.model.select(X, posterior, noise, anneal)

    def _reduced(
        self, X: Tensor, posterior: Any, noise: Noise, anneal: Anneal, decode: Callable[[Tensor], Tensor]
    ) -> ReducedDraws:
        """Return the codes that the noise makes, and the terms of the loss per row."""
        if self.draw_reduction == "iwae":
            return importance_weighted(self.model, X, posterior, noise, anneal, decode)
        codes = self.model.latent.codes(posterior, noise, anneal)
        error = self.model.error(X, decode(codes))
        return ReducedDraws(codes, *self._reduce_draws(error, self.model.latent.kl(posterior, codes)))

    def _reduce_draws(self, error: Tensor, divergences: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return error and divergences per row, (n,), from those of all draws, (J, n) and (J, n, l), or of one."""
        terms = {name: value.sum(-1) for name, value in divergences.items()}
        if self._keeps_one_draw:
            return error, terms
        weights = self._draw_weights(error, terms)
        terms = {
            name: (weights * value).sum(0) if value.dim() == error.dim() else value for name, value in terms.items()
        }
        return (weights * error).sum(0), terms

    def _draw_weights(self, error: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Return the weights of the draws, shape (J, n) and constant; equal for the mean."""
        if self.draw_reduction == "mean":
            return torch.full_like(error, 1 / len(error)).detach()
        kl_weights = {name: per_row(weight) for name, weight in self.model.weights.items()}
        loss = error.detach() + sum(kl_weights[name] * value.detach() for name, value in terms.items())
        return softmax_weights(loss, kl_weights["kl"])

    def _decode_in_training(self, codes: Tensor) -> Tensor:
        if self.dictionary_learning_rate is None or not isinstance(self.model.decoder, LinearDecoder):
            return self.model.decode(codes)
        flat = self.model.pooled(codes.detach())
        is_smaller = flat.shape[-2] < flat.shape[-1] and ranks.current() is None
        gram = flat @ flat.mT if is_smaller else ranks.all_sum(flat.mT @ flat)
        atoms = self._limited(self.model.decoder.components, gram, ranks.all_count(flat.shape[-2]))
        return torch.func.functional_call(self.model.decoder, {"components": atoms}, (codes,))

    @torch.no_grad()
    def _sums(self, codes: Tensor, error: Tensor, terms: dict[str, Tensor]) -> Sums:
        flat = self.model.pooled(codes)
        return {
            "n_rows": error.shape[-1],
            "n_codes": flat.shape[-2],
            "reconstruction": error.detach().sum(-1),
            **{name: value.detach().sum(-1) for name, value in terms.items()},
            "draw_l1": flat.abs().sum((-2, -1)),
            "n_active": count_active(flat),
        }


@dataclass
class _ObjectivesTogether(VariationalObjective):
    """Objectives that differ in their weights, computed as one; every one of them is at a position of its own."""

    members: Sequence[VariationalObjective] = ()

    def advance_to(self, position: Any) -> None:
        """Set the warm-ups at the positions of the members."""
        for member, at in zip(self.members, position, strict=True):
            member.advance_to(at)
        like = next(self.model.decoder.parameters())
        anneals = [member.anneal for member in self.members]
        self.anneal = Anneal(*(stack_weights(values, like) for values in zip(*anneals, strict=True)))

    def _generator_of_step(self, X: Tensor, generator: Any) -> Any:
        return [generator_for(X.device, own) for own in generator]

    def _generator_of_evaluation(self, X: Tensor) -> Any:
        return [make_generator(_EVALUATION_SEED, X.device) for _ in self.members]
