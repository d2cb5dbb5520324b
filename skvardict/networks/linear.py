"""The part for linear decoders."""

import torch
from torch import nn

from skvardict._utils.parameters import Part, parameter, with_parameters
from skvardict.networks.decoders import AffineDecoder, LinearDecoder


@with_parameters
class Linear(Part):
    """A dictionary: :class:`LinearDecoder`, or :class:`AffineDecoder` with an offset.

    Examples
    --------
    >>> from skvardict.networks import Linear
    >>> Linear()
    Linear()
    """

    offset: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether reconstructions have a constant part, which variational models set to the mean of the data.",
    )

    def build_decoder(self, n_features: int, n_components: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh decoder, with atoms drawn from `generator`."""
        self.check()
        return (AffineDecoder if self.offset else LinearDecoder)(n_components, n_features, generator)
