"""Variational sparse coding: the evidence lower bound with J draws per row.

Per row, with codes z^j drawn from the posterior q(z|x) that the encoder gives, the loss of a draw is

    L_j = 1/d |x - D(z^j)|^2 + kl_weight KL(q(z|x) || p(z))        (KL summed over components)

and the J draws are reduced to their "mean", to the best of them ("max": the largest bound), or by softmax weights of
``-L_j / kl_weight`` held constant ("iwae"). Times ``-1 / kl_weight`` and up to a constant, L is the bound for a
Gaussian likelihood of variance ``d kl_weight / 2``.

For "max" the draws are compared without a graph, and only the chosen one is made again with one: the gradient is the
same, at the cost of one draw.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict._utils.random import generator_for, make_generator
from skvardict.energies import reconstruction
from skvardict.functional import schatten_bound
from skvardict.networks import LinearDecoder, normalize_atoms_
from skvardict.objectives.latents import Anneal, Latent, Noise
from skvardict.training.protocol import Position

Sums = dict[str, Tensor]

_DRAW_ENTRIES = 2**22  # of codes or decoded draws held at a time: 16 MB of float32
_EVALUATION_SEED = 0  # validation sees the same noise every epoch, or epochs could not be compared
_COLLAPSED_KL = 1e-2  # nats, per component and row, on average


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        return grad_output * ctx.saved_tensors[0], None


@dataclass
class VariationalObjective:
    """Losses, validation energy, schedules and constraints of a variational sparse coder.

    Parameters
    ----------
    decoder, encoder : Module
        The encoder gives ``latent.n_heads * n_components`` numbers per row.
    latent : Latent
        Family of posterior and prior.
    n_components, n_features : int
    kl_weights : dict
        Weight of every divergence that `latent` names.
    n_draws : int
    draw_reduction : {"max", "mean", "iwae"}
    atom_norm : float or None
    learning_rate : float
    dictionary_learning_rate : float or None
        Step eta of a linear dictionary, ``A += eta mean(r z^T)``, limited to the inverse of the largest eigenvalue of
        ``mean(z z^T)`` over the batch, beyond which it may diverge; None: `learning_rate` is the dictionary's too.
    weight_decay, encoder_weight_decay : float
    settings : dict
        Of the optimiser's groups (momentum, betas), but for a dictionary with a rate of its own.
    rate : callable or None
        Schedule of `learning_rate`.
    noise_warmup, temperature : callable or None
        Schedules of the warm-ups.
    optimizer : {"adam", "sgd"}
    """

    decoder: nn.Module
    encoder: nn.Module
    latent: Latent
    n_components: int
    n_features: int
    kl_weights: dict[str, float]
    n_draws: int
    draw_reduction: str
    atom_norm: float | None
    learning_rate: float
    dictionary_learning_rate: float | None = None
    weight_decay: float = 0.0
    encoder_weight_decay: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    rate: Callable[[Position], float] | None = None
    noise_warmup: Callable[[Position], float] | None = None
    temperature: Callable[[Position], float] | None = None
    optimizer: str = "adam"
    anneal: Anneal = field(default_factory=Anneal)

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        return {"decoder": self.decoder, "encoder": self.encoder}

    def parameter_groups(self) -> list[dict]:
        """Return the optimiser's groups: encoder, then decoder."""
        shared = {"lr": self.learning_rate, "decays": self.rate is None, **self.settings}
        if self.rate is not None:
            shared["schedule"] = self.rate
        encoder = {**shared, "params": list(self.encoder.parameters()), "weight_decay": self.encoder_weight_decay}
        decoder = {**shared, "params": list(self.decoder.parameters()), "weight_decay": self.weight_decay}
        if self.dictionary_learning_rate is not None and isinstance(self.decoder, LinearDecoder):
            # The gradient of the mean squared error is 2/d times mean(r z^T).
            factor = self.decoder.components.shape[-1] / 2
            decoder = {
                "params": [self.decoder.components],
                "lr": self.dictionary_learning_rate * factor,
                "weight_decay": self.weight_decay,
            }
        return [encoder, decoder]

    def advance_to(self, position: Position) -> None:
        """Set the warm-ups of noise and temperature."""
        schedules = {"noise": self.noise_warmup, "temperature": self.temperature}
        self.anneal = Anneal(**{name: schedule(position) for name, schedule in schedules.items() if schedule})

    def constrain_(self) -> None:
        """Put the atoms back to their norm."""
        if self.atom_norm is not None:
            normalize_atoms_(self.decoder.atom_matrices(), self.atom_norm)  # type: ignore[operator]

    def step(self, X: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Sums]:
        """Return the losses of a batch, ready for one backward pass, and sums for the history."""
        posterior = self.posterior(X)
        generator = generator_for(X.device, generator)
        noise = self._chosen_noise(X, posterior, generator, self.anneal)
        codes = self.latent.codes(posterior, noise, self.anneal)
        error = reconstruction(X, self._decode_in_training(codes))
        error, terms = self._reduce_draws(error, self.latent.kl(posterior, codes))
        losses = {"reconstruction": error.mean()}
        losses |= {name: self.kl_weights[name] * value.mean() for name, value in terms.items()}
        return losses, self._sums(codes.detach(), error, terms)

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch, with all warm-ups at their end and the same noise every time."""
        with self._evaluating():
            posterior = self.posterior(X)
            generator = make_generator(_EVALUATION_SEED, X.device)
            noise = self._chosen_noise(X, posterior, generator, Anneal())
            codes = self.latent.codes(posterior, noise, Anneal())
            divergences = self.latent.kl(posterior, codes)
            error, terms = self._reduce_draws(reconstruction(X, self.decode(codes)), divergences)
            mean_error = reconstruction(X, self.decode(self.latent.summary(posterior)["code_mean"]))
            kl = divergences["kl"].flatten(0, -2)
        return {
            **self._sums(codes, error, terms),
            "mean_reconstruction": mean_error.sum(),
            "square_sum": X.square().sum(0),
            "row_sum": X.sum(0),
            "kl_by_component": kl.mean(0) * len(X),
        }

    def summarize(self, sums: Sums, *, validation: bool) -> dict[str, float]:
        """Return the history entries of an epoch, per row, in the units of the package."""
        n_rows = float(sums["n_rows"])
        means = {name: float(sums[name]) / n_rows for name in ("reconstruction", *self.kl_weights)}
        energy = means["reconstruction"] + sum(weight * means[name] for name, weight in self.kl_weights.items())
        n_active = sums["n_active"]
        sparsity = 1 - float(n_active.sum()) / (float(sums["n_codes"]) * len(n_active))
        if not validation:
            return {
                "energy": energy,
                **means,
                "draw_l1": float(sums["draw_l1"]) / float(sums["n_codes"]),
                "sparsity": sparsity,
                # Draws of small noise hardly pass a threshold: in the warm-up that is no trouble.
                "n_dead": int((n_active == 0).sum()) if self.anneal.noise == 1 else 0,
                "noise_warmup": self.anneal.noise,
            }
        scatter = float((sums["square_sum"] - sums["row_sum"].square() / n_rows).mean())
        mean_error = float(sums["mean_reconstruction"])
        return {
            "validation_energy": energy,
            **{f"validation_{name}": value for name, value in means.items()},
            "validation_mean_reconstruction": mean_error / n_rows,
            "validation_r2": 1 - mean_error / scatter if scatter > 0 else float("nan"),
            "validation_sparsity": sparsity,
            "validation_n_collapsed": int((sums["kl_by_component"] / n_rows <= _COLLAPSED_KL).sum()),
        }

    def posterior(self, X: Tensor) -> Any:
        """Return the posterior that the encoder gives to the rows."""
        return self.latent.posterior(self.encoder(X))

    def decode(self, codes: Tensor) -> Tensor:
        """Return reconstructions of codes with any leading axes."""
        return self.decoder(codes.flatten(0, -2)).unflatten(0, codes.shape[:-1])

    def best_codes(self, X: Tensor, posterior: Any, noise: Noise) -> Tensor:
        """Return the best of the draws that `noise` (J, n or 1, l) makes, row by row."""
        expanded = tuple(part.expand(part.shape[0], *posterior.shape) for part in noise)
        chosen = self._select(X, posterior, expanded, Anneal())
        return self.latent.codes(posterior, chosen, Anneal())

    def elbo(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return the evidence lower bound per row, in nats: its divergence exact where there is a closed form."""
        posterior = self.posterior(X)
        noise = self.latent.draw_noise(posterior, n_draws, generator)
        codes = self.latent.codes(posterior, noise, Anneal())
        terms = [value.sum(-1) for value in self.latent.kl(posterior, codes).values()]
        divergence = sum(value.mean(0) if value.dim() == 2 else value for value in terms)
        return self._log_likelihood(X, codes).mean(0) - divergence

    def iwae(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return ``log 1/K sum_k p(x, z_k) / q(z_k | x)`` per row, in nats."""
        posterior = self.posterior(X)
        noise = self.latent.draw_noise(posterior, n_draws, generator)
        codes = self.latent.codes(posterior, noise, Anneal())
        log_weights = self._log_likelihood(X, codes) + self.latent.log_ratio(posterior, noise)
        return torch.logsumexp(log_weights, 0) - log(n_draws)

    def rows_at_a_time(self, n_draws: int) -> int:
        """Return how many rows may have `n_draws` draws each in memory at a time."""
        return max(1, _DRAW_ENTRIES // (n_draws * max(self.n_components, self.n_features)))

    def _log_likelihood(self, X: Tensor, codes: Tensor) -> Tensor:
        n_features, weight = X.shape[-1], self.kl_weights["kl"]
        return -reconstruction(X, self.decode(codes)) / weight - n_features / 2 * log(pi * n_features * weight)

    def _chosen_noise(self, X: Tensor, posterior: Any, generator: torch.Generator, anneal: Anneal) -> Noise:
        """Return noise of one draw per row, (n, l), or of all where they are averaged, (J, n, l)."""
        with torch.no_grad():
            noise = self.latent.draw_noise(posterior, self.n_draws, generator)
            if self.n_draws == 1:
                return tuple(part[0] for part in noise)
            return self._select(X, posterior, noise, anneal) if self.draw_reduction == "max" else noise

    @torch.no_grad()
    def _select(self, X: Tensor, posterior: Any, noise: Noise, anneal: Anneal) -> Noise:
        """Return the noise of the draw of the smallest loss for every row."""
        with self._evaluating():
            codes = self.latent.codes(posterior, noise, anneal)
            loss = self.decode(codes).sub_(X).square_().mean(-1)
            if self.latent.kl_depends_on_draw:
                for name, value in self.latent.kl(posterior, codes).items():
                    loss.add_(value.sum(-1), alpha=self.kl_weights[name])
        best, rows = loss.argmin(0), torch.arange(len(X), device=X.device)
        return tuple(part[best, rows] for part in noise)

    def _reduce_draws(self, error: Tensor, divergences: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return error and divergences per row, (n,), from those of all draws, (J, n) and (J, n, l), or of one."""
        terms = {name: value.sum(-1) for name, value in divergences.items()}
        if error.dim() == 1:
            return error, terms
        weights = self._draw_weights(error, terms)
        terms = {name: (weights * value).sum(0) if value.dim() == 2 else value for name, value in terms.items()}
        return (weights * error).sum(0), terms

    def _draw_weights(self, error: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """Return the weights of the draws, shape (J, n) and constant; equal for the mean."""
        if self.draw_reduction == "mean":
            return torch.full_like(error, 1 / len(error)).detach()
        loss = error.detach() + sum(self.kl_weights[name] * value.detach() for name, value in terms.items())
        if self.kl_weights["kl"] == 0:  # the limit
            return nn.functional.one_hot(loss.argmin(0), len(loss)).T.to(loss.dtype)
        return torch.softmax(-loss / self.kl_weights["kl"], 0)

    def _decode_in_training(self, codes: Tensor) -> Tensor:
        if self.dictionary_learning_rate is None or not isinstance(self.decoder, LinearDecoder):
            return self.decode(codes)
        flat = codes.detach().flatten(0, -2)
        gram = flat @ flat.mT if flat.shape[0] < flat.shape[1] else flat.mT @ flat
        curvature = schatten_bound(gram) * (self.dictionary_learning_rate / len(flat))
        factor = 1 / curvature.clamp_min(1)
        atoms = _ScaledGradient.apply(self.decoder.components, factor)
        return torch.func.functional_call(self.decoder, {"components": atoms}, (codes,))

    @torch.no_grad()
    def _sums(self, codes: Tensor, error: Tensor, terms: dict[str, Tensor]) -> Sums:
        flat = codes.flatten(0, -2)
        return {
            "n_rows": error.new_tensor(len(error)),
            "n_codes": error.new_tensor(len(flat)),
            "reconstruction": error.detach().sum(),
            **{name: value.detach().sum() for name, value in terms.items()},
            "draw_l1": flat.abs().sum(),
            "n_active": torch.count_nonzero(flat, dim=0),
        }

    def _evaluating(self):
        return evaluating(*self.modules().values())
