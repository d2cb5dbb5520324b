"""What the families of codes share.

Notation: n rows, l components, J draws; ``noise`` is a tuple of tensors of shape (J, n, l) or (n, l), the standard
variables that a draw is made from. Codes are a differentiable function of posterior and noise, so that a draw can be
chosen first, without a graph, and be made again with one.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.distributions import kl_divergence
from skvardict.functional import Weight, to_device
from skvardict.functional.graphs import map_tensors, tensors_of

LARGEST_LOG_SCALE = 15.0  # so that nothing overflows

Noise = tuple[Tensor, ...]


class Anneal(NamedTuple):
    """Where the warm-ups stand.

    Attributes
    ----------
    noise : float, or Tensor of shape (..., 1, 1)
        Factor omega of the drawn noise; 1 after the warm-up.
    temperature : float, or Tensor of shape (..., 1, 1)
        Of the binary concrete gate.
    """

    noise: Weight = 1.0
    temperature: Weight = 0.5

    @property
    def is_over(self) -> bool:
        """Whether the noise is whole."""
        return not isinstance(self.noise, Tensor) and self.noise == 1


class Latent(ABC):
    """A family of posteriors with its prior.

    Attributes
    ----------
    prior : Law
        Law of a code, its parameters numbers.
    n_heads : int
        Numbers per component that the encoder has to give.
    kl_depends_on_draw : bool
        Whether the divergence is estimated at the draws.
    """

    prior: Any
    n_heads: int
    kl_depends_on_draw: bool = False

    @property
    @abstractmethod
    def prior_activation_probability(self) -> float:
        """Share of components that are on under the prior."""

    @property
    @abstractmethod
    def l1_scale(self) -> float | None:
        """Mean absolute value of the Laplace prior that the solver puts in place of the prior; None: it cannot."""

    @property
    @abstractmethod
    def has_closed_form(self) -> bool:
        """Whether moments of the codes and their divergence from the prior have one."""

    def for_expectations(self) -> "Latent":
        """Return the family whose heads suit training in closed form; by default the same."""
        return self

    @abstractmethod
    def posterior(self, outputs: Tensor) -> Any:
        """Return the posterior for outputs of the encoder, shape (n, n_heads * l)."""

    @abstractmethod
    def codes(self, posterior: Any, noise: Noise, anneal: Anneal) -> Tensor:
        """Return the draws that the noise makes."""

    def warmed(self, posterior: Any, anneal: Anneal) -> Any:
        """Return the law of :meth:`codes` in the warm-up."""
        return posterior if anneal.is_over else self._with_less_noise(posterior, anneal.noise)

    @abstractmethod
    def _with_less_noise(self, posterior: Any, omega: Weight) -> Any:
        """Return the law of codes whose noise has the factor omega."""

    def scored_codes(self, posterior: Any, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Return draws and the log-probability of their supports, (J, n); None where nothing is ever zero.

        The gradient of the draws is that of values given the support. A mean over draws has the gradient of both
        together: ``E f(z)`` that of ``f(z) + f(z) log P(support)``, the f of the last term a constant.
        """
        return self.codes(posterior, noise, Anneal()), None

    @abstractmethod
    def summary(self, posterior: Any) -> dict[str, Tensor]:
        """Return the parameters of the posterior by name, each of shape (n, l)."""

    @abstractmethod
    def _noise(self, law: Any, shape, generator: torch.Generator) -> Noise:
        """Return what draws from `law`, the posterior or the prior, are made from."""

    def draw_noise(self, posterior: Any, n_draws: int, generator: torch.Generator) -> Noise:
        """Return the noise of `n_draws` draws per row; of the whole batch, of which a process takes its part."""
        n_own, *rest = posterior.shape
        noise = self._noise(posterior, (n_draws, ranks.n_rows(n_own), *rest), generator)
        return tuple(ranks.own_part(part, 1) for part in noise)

    def shared_noise(self, posterior: Any, n_draws: int, generator: torch.Generator) -> Noise:
        """Return noise that is the same for all rows.

        It is drawn where the generator is: by one on the CPU, whatever the device.
        """
        law = map_tensors(posterior, lambda tensor: torch.zeros((), dtype=tensor.dtype, device=generator.device))
        device = tensors_of(posterior)[0].device
        noise = self._noise(law, (n_draws, 1, posterior.shape[-1]), generator)
        return tuple(to_device(part, device) for part in noise)

    def kl(self, posterior: Any, codes: Tensor) -> dict[str, Tensor]:
        """Return the divergences that are trained, by name, (n, l), or with the leading axis of `codes`."""
        return {"kl": self.code_kl(posterior, codes)}

    def moments(self, posterior: Any) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the codes, where they have a closed form."""
        return posterior.mean, posterior.variance

    def code_kl(self, posterior: Any, codes: Tensor) -> Tensor:
        """Return ``KL(q(z|x) || p(z))`` of the codes, (n, l), or estimated at the codes, with their leading axis."""
        return kl_divergence(posterior, self.prior.like(codes), codes)

    def on(self, posterior: Any) -> Tensor:
        """Return the probabilities that codes are not zero, (n, l)."""
        return posterior.activation_probability

    def log_ratio(self, posterior: Any, codes: Tensor) -> Tensor:
        """Return ``log p(z) - log q(z|x)`` of drawn codes, entry by entry, (J, n, l)."""
        return self.prior.like(codes).log_prob(codes) - posterior.log_prob(codes)

    def prior_codes(self, shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws from the prior, with dtype and device of `like`."""
        prior = self.prior.like(like)
        return self.codes(prior, self._noise(prior, shape, generator), Anneal())


def bounded_exp(log_value: Tensor, bound: float) -> Tensor:
    """Return ``exp`` of the value clamped to +-bound; the gradient skips the clamp.

    Otherwise a scale that an optimiser once threw beyond it could not come back.
    """
    return (log_value + (log_value.clamp(-bound, bound) - log_value).detach()).exp()
