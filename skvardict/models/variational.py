"""The variational model: an encoder gives a posterior over codes, a decoder reconstructs from its draws.

The bounds are those of a Gaussian likelihood of variance ``d kl_weight / 2``.
"""

from dataclasses import dataclass
from math import log, pi
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict.energies import reconstruction
from skvardict.models.latents import Anneal, Latent, Noise

_DRAW_ENTRIES = 2**22  # of codes or decoded draws held at a time: 16 MB of float32


@dataclass
class VariationalModel:
    """Posterior, draws, reconstructions and bounds of a variational sparse coder.

    Parameters
    ----------
    decoder, encoder : Module
        The encoder gives ``latent.n_heads * n_components`` numbers per row.
    latent : Latent
        Family of posterior and prior.
    n_components, n_features : int
    kl_weights : dict
        Weight of every divergence that `latent` names.
    """

    decoder: nn.Module
    encoder: nn.Module
    latent: Latent
    n_components: int
    n_features: int
    kl_weights: dict[str, float]

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        return {"decoder": self.decoder, "encoder": self.encoder}

    def posterior(self, X: Tensor) -> Any:
        """Return the posterior that the encoder gives to the rows."""
        return self.latent.posterior(self.encoder(X))

    def decode(self, codes: Tensor) -> Tensor:
        """Return reconstructions of codes with any leading axes."""
        return self.decoder(codes.flatten(0, -2)).unflatten(0, codes.shape[:-1])

    def best_codes(self, X: Tensor, posterior: Any, noise: Noise) -> Tensor:
        """Return the best of the draws that `noise` (J, n or 1, l) makes, row by row."""
        expanded = tuple(part.expand(part.shape[0], *posterior.shape) for part in noise)
        chosen = self.select(X, posterior, expanded, Anneal())
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

    @torch.no_grad()
    def select(self, X: Tensor, posterior: Any, noise: Noise, anneal: Anneal) -> Noise:
        """Return the noise of the draw of the smallest loss for every row."""
        with self.evaluating():
            codes = self.latent.codes(posterior, noise, anneal)
            loss = self.decode(codes).sub_(X).square_().mean(-1)
            if self.latent.kl_depends_on_draw:
                for name, value in self.latent.kl(posterior, codes).items():
                    loss.add_(value.sum(-1), alpha=self.kl_weights[name])
        best, rows = loss.argmin(0), torch.arange(len(X), device=X.device)
        return tuple(part[best, rows] for part in noise)

    def evaluating(self):
        """Put all parts into evaluation mode inside the block."""
        return evaluating(*self.modules().values())
