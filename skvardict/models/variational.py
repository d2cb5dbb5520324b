"""The variational model: an encoder gives a posterior over codes, a decoder reconstructs from its draws.

Rows get codes from the posterior (its mean, its median, its most active components, the best of its draws), or from a
solver that is started at its mean. The bounds are those of the model that draws codes from the prior, zeros included,
and decodes them, with a Gaussian likelihood of variance ``d kl_weight / 2``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, pi
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict._utils.modules import evaluating
from skvardict._utils.random import make_generator
from skvardict.distributions import SpikeAndSlab
from skvardict.energies import L1, expected_reconstruction, reconstruction
from skvardict.functional import Weight, add_weighted, per_row
from skvardict.models.latents import Anneal, Latent, Noise
from skvardict.models.refinement import refine
from skvardict.networks import LinearDecoder
from skvardict.solvers import FISTA, SolverResult

_FEWEST_DRAWS = 20  # of which an automatic code of a non-linear decoder is the best
_REFINEMENTS = 20  # steps of transform_algorithm="refine"
_FOLLOWING = 0.05  # of the learnt noise, per batch
_DRAW_ENTRIES = 2**22  # of codes or decoded draws held at a time: 16 MB of float32


class Codes(NamedTuple):
    """Codes of rows, with the solver's iterations and convergence per row; both None where no solver ran."""

    codes: Tensor
    n_iter: Tensor | None = None
    converged: Tensor | None = None


class LearntNoise(nn.Module):
    """The weight of the divergence as a saved number that follows the squared error: the likelihood's noise, learnt.

    A Gaussian likelihood of variance v per feature has its largest bound at v = the mean squared error, and v stands
    for the weight ``2 v / n_features``. The running mean reaches over about twenty batches.

    Parameters
    ----------
    kl_weight : float
        First value.
    n_features : int

    References
    ----------
    Rybkin, Daniilidis & Levine, Simple and effective VAE training with calibrated decoders, ICML 2021, section 3.3.
    """

    kl_weight: Tensor

    def __init__(self, kl_weight: float, n_features: int):
        super().__init__()
        self.n_features = n_features
        self.register_buffer("kl_weight", torch.tensor(kl_weight))

    @torch.no_grad()
    def start_(self, mean_square: float) -> None:
        """Begin at the error of a reconstruction of zeros."""
        self.kl_weight.fill_(2 * mean_square / self.n_features)

    @torch.no_grad()
    def follow_(self, error: Tensor) -> None:
        """Move towards what the errors of the rows of a batch, (..., n), ask for."""
        wanted = ranks.all_mean(error.mean(-1), error.shape[-1]) * (2 / self.n_features)
        self.kl_weight.lerp_(wanted.reshape(self.kl_weight.shape), _FOLLOWING)


@dataclass
class VariationalModel:
    """Posterior, codes, draws, reconstructions and bounds of a variational sparse coder.

    Parameters
    ----------
    decoder, encoder : Module
        The encoder gives ``latent.n_heads * n_components`` numbers per row.
    latent : Latent
        Family of posterior and prior.
    n_components, n_features : int
    kl_weights : dict of float, or of Tensor of shape (..., 1, 1)
        Weight of every divergence that `latent` names.
    solver : solver or None
        For ``encode(..., algorithm="solver")``; None is ``FISTA(max_iter=1000, restart=True)``.
    noise : LearntNoise or None
        The weight "kl", where training looks for it.
    """

    decoder: nn.Module
    encoder: nn.Module
    latent: Latent
    n_components: int
    n_features: int
    kl_weights: Mapping[str, Weight]
    solver: Any = None
    noise: LearntNoise | None = None

    @property
    def weights(self) -> Mapping[str, Weight]:
        """Weights of the divergences, with the one that training has found where it looks for one."""
        return self.kl_weights if self.noise is None else {**self.kl_weights, "kl": self.noise.kl_weight}

    def follow_noise_(self, error: Tensor, X: Tensor) -> None:
        """Let the learnt noise follow the errors of the rows of a batch, (..., n)."""
        if self.noise is not None:
            self.noise.follow_(error.detach())

    @property
    def is_linear(self) -> bool:
        """Whether reconstructions are linear in the codes, up to a constant."""
        return isinstance(self.decoder, LinearDecoder)

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        parts = {"decoder": self.decoder, "encoder": self.encoder, "noise": self.noise}
        return {name: part for name, part in parts.items() if part is not None}

    def posterior(self, X: Tensor) -> Any:
        """Return the posterior that the encoder gives to the rows."""
        return self.latent.posterior(self.encoder(X))

    def decode(self, codes: Tensor) -> Tensor:
        """Return reconstructions of codes with any leading axes."""
        return self.decoder(codes.flatten(0, -2)).unflatten(0, codes.shape[:-1])

    def error(self, X: Tensor, decoded: Tensor) -> Tensor:
        """Return ``1/d |x - D(z)|^2`` per row."""
        return reconstruction(X, decoded)

    def mean_observed_error(self, X: Tensor, decoded: Tensor) -> Tensor:
        """Return the mean squared error over the entries that are there, per row: all."""
        return reconstruction(X, decoded)

    def expected_error(self, X: Tensor, decoded: Tensor, variance: Tensor, atoms: Tensor) -> Tensor:
        """Return the mean of :meth:`error` over codes whose mean is decoded, per row, for a linear decoder."""
        return expected_reconstruction(X, decoded, variance, atoms)

    def cross_moment(self, X: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Return ``E Z^T X``, (l, d), for codes with these moments and rows less the decoder's constant."""
        return mean.mT @ self.decoder.centered(X)  # type: ignore[operator]

    def totals(self, X: Tensor) -> dict[str, Tensor]:
        """Return sums over the rows of the squares and of the entries."""
        return {"square_sum": X.square().sum(-2), "row_sum": X.sum(-2)}

    def n_observed(self, X: Tensor) -> Any:
        """Return the number of entries per row that are there: all."""
        return X.shape[-1]

    def pooled(self, codes: Tensor) -> Tensor:
        """Return codes with any leading axes as rows of one matrix."""
        return codes.flatten(0, -2)

    def draw_noise(self, posterior: Any, n_draws: int, generator: Any) -> Noise:
        """Return the noise of `n_draws` draws per row, parts of shape (J, n, l)."""
        return self.latent.draw_noise(posterior, n_draws, generator)

    def encode(self, X: Tensor, algorithm: str, *, n_draws: int = 1, noise_seed: int = 0) -> Codes:
        """Return codes of the rows; deterministic, and row by row.

        Parameters
        ----------
        X : Tensor of shape (n, d)
        algorithm : {"mean", "median", "support", "refine", "top_k", "max_elbo", "solver", "auto"}
            "auto": "solver" for a linear decoder, else "max_elbo" of twenty draws or more.
        n_draws, noise_seed : int
            For "max_elbo": the number of draws, and the seed of their noise, which is the same for every row.
        """
        if algorithm == "auto":
            algorithm, n_draws = "solver" if self.is_linear else "max_elbo", max(n_draws, _FEWEST_DRAWS)
        if algorithm == "max_elbo":
            blocks = X.split(self.rows_at_a_time(n_draws))
            return Codes(torch.cat([self._best_codes(rows, n_draws, noise_seed) for rows in blocks]))
        posterior = self.posterior(X)
        if algorithm == "refine":
            posterior = self._refined(X, posterior)
            algorithm = "support"
        if algorithm == "median":
            return Codes(posterior.median)
        summary = self.latent.summary(posterior)
        if algorithm == "mean":
            return Codes(summary["code_mean"])
        if algorithm == "support":
            on = self.latent.on(posterior) > 0.5
            return Codes(torch.where(on, summary["mean"], 0))
        if algorithm == "top_k":
            return Codes(self._top_k(summary))
        result = self._solve(X, summary["code_mean"])
        return Codes(result.codes, result.n_iter, result.converged)

    def check_algorithm(self, algorithm: str) -> None:
        """Raise a ValueError where `encode` cannot use the algorithm with these parts."""
        if algorithm == "solver" and not self.is_linear:
            raise ValueError(
                "transform_algorithm='solver' needs decoder='linear', but the decoder is of "
                f"{type(self.decoder).__name__}. Use another transform_algorithm."
            )
        if algorithm == "refine" and not (self.is_linear and isinstance(self.latent.prior, SpikeAndSlab)):
            raise ValueError(
                "transform_algorithm='refine' needs a spike-and-slab prior and decoder='linear', but the prior is "
                f"{self.latent.prior!r} and the decoder of {type(self.decoder).__name__}. Use transform_algorithm="
                "'support'."
            )
        if algorithm == "solver" and self.latent.l1_scale is None:
            raise ValueError(
                f"transform_algorithm='solver' needs prior='laplace', but the prior is {self.latent.prior!r}. "
                "Use transform_algorithm='mean'."
            )

    def _refined(self, X: Tensor, posterior: Any) -> SpikeAndSlab:
        """Return the posterior after steps towards the smallest loss of each row."""
        decoder: Any = self.decoder
        weight, rows, prior = float(self.weights["kl"]), decoder.centered(X), self.latent.prior.like(X)
        return refine(posterior, prior, rows, decoder.components, weight, _REFINEMENTS) if weight > 0 else posterior

    def _solve(self, X: Tensor, start: Tensor) -> SolverResult:
        """Return the most probable codes under a Laplace prior of the prior's mean absolute value."""
        self.check_algorithm("solver")
        solver = FISTA(max_iter=1000, restart=True) if self.solver is None else self.solver
        return solver.solve(self._problem(X), start)

    @property
    def _penalty(self) -> L1:
        return L1(float(self.weights["kl"]) / self.latent.l1_scale, positive=False)  # type: ignore[operator]

    def _problem(self, X: Tensor) -> Any:
        return self.decoder.coding_problem(X, self._penalty)  # type: ignore[operator]

    def _top_k(self, summary: dict[str, Tensor]) -> Tensor:
        """Return the means of the components with the largest ``|E z|``, as many as the prior has on; else zero."""
        n_active = max(1, round(self.latent.prior_activation_probability * self.n_components))
        chosen = summary["code_mean"].abs().topk(n_active, dim=-1).indices
        return torch.zeros_like(summary["mean"]).scatter(-1, chosen, summary["mean"].gather(-1, chosen))

    def _best_codes(self, X: Tensor, n_draws: int, noise_seed: int) -> Tensor:
        """Return the best of the draws that noise of one bank, the same for all rows and calls, makes of each row."""
        posterior = self.posterior(X)
        noise = self.latent.shared_noise(posterior, n_draws, make_generator(noise_seed))
        expanded = tuple(part.expand(part.shape[0], *posterior.shape) for part in noise)
        return self.latent.codes(posterior, self.select(X, posterior, expanded, Anneal()), Anneal())

    def posterior_params(self, X: Tensor) -> dict[str, Tensor]:
        """Return the parameters of the posterior of every row by name, each of shape (n, l)."""
        return self.latent.summary(self.posterior(X))

    def sample_codes(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return draws from the posterior of every row, shape (J, n, l)."""
        return self._draws(self.posterior(X), n_draws, generator)

    @torch.no_grad()
    def sample_prior_codes(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Return codes drawn from the prior, shape (n_samples, l)."""
        like = next(self.decoder.parameters())
        return self.latent.prior_codes((n_samples, self.n_components), generator, like)

    def elbo(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return ``E log p(x|z) - KL(q(z|x) || p(z))`` per row, in nats: each exact where it has a closed form."""
        posterior = self.posterior(X)
        if self.is_linear and self.latent.has_closed_form:
            mean, variance = self.latent.moments(posterior)
            error = self.expected_error(X, self.decode(mean), variance, self.decoder.components)  # type: ignore[arg-type]
            return self._log_density(error, X) - self.latent.code_kl(posterior, mean).sum(-1)
        codes = self._draws(posterior, n_draws, generator)
        divergence = self.latent.code_kl(posterior, codes).sum(-1)
        return self._log_likelihood(X, codes).mean(0) - (divergence.mean(0) if divergence.dim() == 2 else divergence)

    def iwae(self, X: Tensor, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return ``log 1/K sum_k p(x, z_k) / q(z_k | x)`` per row, in nats."""
        posterior = self.posterior(X)
        codes = self._draws(posterior, n_draws, generator)
        log_weights = self._log_likelihood(X, codes) + self.latent.log_ratio(posterior, codes).sum(-1)
        return torch.logsumexp(log_weights, 0) - log(n_draws)

    def rows_at_a_time(self, n_draws: int) -> int:
        """Return how many rows may have `n_draws` draws each in memory at a time."""
        return max(1, _DRAW_ENTRIES // (n_draws * max(self.n_components, self.n_features)))

    def _draws(self, posterior: Any, n_draws: int, generator: torch.Generator) -> Tensor:
        return self.latent.codes(posterior, self.latent.draw_noise(posterior, n_draws, generator), Anneal())

    def _log_likelihood(self, X: Tensor, codes: Tensor) -> Tensor:
        return self._log_density(self.error(X, self.decode(codes)), X)

    def _log_density(self, error: Tensor, X: Tensor) -> Tensor:
        """Return the log-likelihood of rows that are reconstructed with these errors."""
        weight = float(self.weights["kl"])
        if weight == 0:
            raise ValueError(
                "A bound needs kl_weight > 0: it is half the variance of the likelihood per feature. Fit with a "
                "positive kl_weight."
            )
        return -error / weight - self.n_observed(X) / 2 * log(pi * X.shape[-1] * weight)

    @torch.no_grad()
    def select(self, X: Tensor, posterior: Any, noise: Noise, anneal: Anneal) -> Noise:
        """Return the noise of the draw of the smallest loss for every row."""
        with self.evaluating():
            codes = self.latent.codes(posterior, noise, anneal)
            loss = self.error(X, self.decode(codes))
            if self.latent.kl_depends_on_draw:
                for name, value in self.latent.kl(posterior, codes).items():
                    loss = add_weighted(loss, per_row(self.weights[name]), value.sum(-1))
        best = loss.argmin(0)
        rows = torch.arange(best.numel(), device=X.device)
        return tuple(part.flatten(1, -2)[best.flatten(), rows].view(part.shape[1:]) for part in noise)

    def evaluating(self):
        """Put all parts into evaluation mode inside the block."""
        return evaluating(*self.modules().values())


class VariationalModelsTogether(VariationalModel):
    """Several variational models as one, for training.

    Rows are (m, n, d), codes (m, n, l); those of several draws are (J, m, n, l).
    """

    def decode(self, codes: Tensor) -> Tensor:
        """Return reconstructions, with the axes of the codes."""
        if codes.dim() == 3:
            return self.decoder(codes)
        return self.decoder(self.pooled(codes)).unflatten(1, (len(codes), -1)).transpose(0, 1)

    def pooled(self, codes: Tensor) -> Tensor:
        """Return the codes of all draws as rows of one matrix for each model."""
        return codes if codes.dim() == 3 else codes.transpose(0, 1).flatten(1, 2)

    def draw_noise(self, posterior: Any, n_draws: int, generator: Any) -> Noise:
        """Return noise that every model draws from its own of the generators, parts of shape (J, m, n, l)."""
        drawn = [self.latent.draw_noise(posterior.member(index), n_draws, own) for index, own in enumerate(generator)]
        return tuple(torch.stack(parts, dim=1) for parts in zip(*drawn, strict=True))
