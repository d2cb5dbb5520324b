"""What the parts that build encoders share."""

from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral

import torch
from torch import nn

from skvardict._utils.parameters import Part, parameter, positive_integers, with_parameters


class EncoderPart(Part):
    """A part that builds networks from rows to numbers, for posteriors and, rectified, for codes."""

    @abstractmethod
    def build_encoder(self, n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh network of `n_outputs` numbers per row.

        Parameters
        ----------
        n_features, n_outputs : int
        generator : Generator
            First weights are drawn from it.

        Returns
        -------
        encoder : Module
            From rows of shape (n_samples, n_features) to (n_samples, n_outputs).
        """

    def build_code_encoder(
        self, n_features: int, n_components: int, *, positive: bool, generator: torch.Generator
    ) -> nn.Module:
        """Return a fresh encoder of codes; non-negative ones end in a ReLU.

        Parameters
        ----------
        n_features, n_components : int
        positive : bool
            Whether codes are non-negative.
        generator : Generator
            First weights are drawn from it.

        Returns
        -------
        encoder : Module
            From rows of shape (n_samples, n_features) to codes of shape (n_samples, n_components).
        """
        encoder = self.build_encoder(n_features, n_components, generator)
        return nn.Sequential(encoder, nn.ReLU()) if positive else encoder


@with_parameters
class LayeredPart(EncoderPart):
    """A part with hidden layers; a subclass may give other sizes."""

    hidden_layer_sizes: Sequence[int] | int = parameter(
        default=(512, 512),
        accepts=["array-like", Integral],
        kind="int or sequence of int",
        text="Units of the hidden layers: of a decoder from the code outwards, of an encoder from the data inwards.",
        kw_only=False,
    )

    def sizes(self) -> tuple[int, ...]:
        """Return the checked sizes of the hidden layers."""
        self.check()
        sizes = positive_integers(self.hidden_layer_sizes)
        if sizes is None:
            raise ValueError(
                f"{type(self).__name__}: hidden_layer_sizes must be whole numbers of units, each at least 1, but is "
                f"{self.hidden_layer_sizes!r}."
            )
        return sizes
