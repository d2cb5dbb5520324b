"""Convolutional encoders and decoders for images that come as flat rows.

"conv" fits any image whose sides are multiples of four; "fmnist" and "celeba" are those of Fallah & Rozell (2022),
Tables 5 and 4. Batch normalisation uses the statistics of the batch in training and running averages afterwards, so
that rows are independent in `transform`.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from skvardict._sklearn import StrOptions
from skvardict._utils.parameters import parameter, positive_integers, with_parameters
from skvardict._utils.random import private_global_generator
from skvardict.networks.encoder_parts import EncoderPart

CONV_NETWORKS = ("conv", "fmnist", "celeba")
_FIXED_SHAPES = {"fmnist": (1, 28, 28), "celeba": (3, 64, 64)}
_SIDE_FACTOR = 4  # of "conv": two strides of two


def check_image_shape(image_shape: Sequence[int], n_features: int, network: str) -> tuple[int, int, int]:
    """Return `image_shape` as (channels, height, width) after checking that the network can work with it.

    Raises
    ------
    ValueError
        If it is no shape, does not match `n_features`, or does not fit the network.
    """
    sizes = positive_integers(image_shape) or ()
    shape = (1, *sizes) if len(sizes) == 2 else sizes
    if len(shape) != 3:
        raise ValueError(
            f"image_shape={image_shape!r} is no image shape. Pass (height, width) or (channels, height, width)."
        )
    if prod(shape) != n_features:
        raise ValueError(
            f"image_shape={image_shape!r} has {prod(shape)} entries, but X has {n_features} features. "
            "Pass the shape of one row of X as an image, channels first."
        )
    if network in _FIXED_SHAPES and shape != _FIXED_SHAPES[network]:
        raise ValueError(
            f"the {network!r} network is made for image_shape={_FIXED_SHAPES[network]}, but image_shape="
            f"{image_shape!r}. Use 'conv', or resize the images."
        )
    if network == "conv" and any(size % _SIDE_FACTOR for size in shape[1:]):
        raise ValueError(
            f"the 'conv' network needs sides that are multiples of {_SIDE_FACTOR}, but image_shape={image_shape!r}. "
            "Pad the images, or pass a builder."
        )
    return shape


@with_parameters
class Conv(EncoderPart):
    """Strided convolutions: as a decoder :class:`ConvDecoder`, as an encoder :class:`ConvEncoder`.

    Examples
    --------
    >>> from skvardict.networks import Conv
    >>> Conv((28, 28))
    Conv(image_shape=(28, 28))
    """

    image_shape: Sequence[int] = parameter(
        accepts=["array-like"],
        kind="tuple (height, width) or (channels, height, width)",
        text="Of a row of X, channels first.",
        kw_only=False,
    )
    network: str = parameter(
        default="conv",
        accepts=[StrOptions(set(CONV_NETWORKS))],
        kind='{"conv", "fmnist", "celeba"}',
        text='"conv" fits images whose sides are multiples of four; "fmnist" and "celeba" are those of Fallah & '
        "Rozell (2022), Tables 5 and 4.",
    )

    def build_decoder(self, n_features: int, n_components: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh decoder."""
        shape = self._shape(n_features)
        with private_global_generator(generator):
            return ConvDecoder(self.network, n_components, shape)

    def build_encoder(self, n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh encoder."""
        shape = self._shape(n_features)
        with private_global_generator(generator):
            return ConvEncoder(self.network, shape, n_outputs)

    def _shape(self, n_features: int) -> tuple[int, int, int]:
        self.check()
        return check_image_shape(self.image_shape, n_features, self.network)


class ConvEncoder(nn.Module):
    """Strided convolutions, each with batch normalisation and ReLU, then a linear layer.

    Parameters
    ----------
    network : {"conv", "fmnist", "celeba"}
    image_shape : tuple (channels, height, width)
    n_outputs : int
    """

    def __init__(self, network: str, image_shape: tuple[int, int, int], n_outputs: int):
        super().__init__()
        self.image_shape = image_shape
        channels, height, width = image_shape
        # Kernel 4 throughout: (channels, stride, padding).
        layers, n_flat = {
            "conv": ([(32, 2, 1), (64, 2, 1)], 4 * height * width),
            "fmnist": ([(64, 2, 1), (64, 2, 1), (128, 1, 0), (128, 2, 0)], 128),
            "celeba": ([(64, 2, 1), (64, 2, 1), (128, 2, 1), (256, 2, 1), (256, 2, 0)], 256),
        }[network]
        parts: list[nn.Module] = []
        for out_channels, stride, padding in layers:
            parts += [
                nn.Conv2d(channels, out_channels, 4, stride, padding, bias=False),
                nn.BatchNorm2d(out_channels),
                nn.ReLU(inplace=True),
            ]
            channels = out_channels
        self.convolutions = nn.Sequential(*parts)
        self.output = nn.Linear(n_flat, n_outputs)

    def forward(self, X: Tensor) -> Tensor:
        """Return the parameters of the posterior, side by side."""
        return self.output(self.convolutions(X.unflatten(-1, self.image_shape)).flatten(1))


class ConvDecoder(nn.Module):
    """A linear layer, transposed convolutions with batch normalisation and ReLU; "fmnist", "celeba" end in a sigmoid.

    Parameters
    ----------
    network : {"conv", "fmnist", "celeba"}
    n_components : int
    image_shape : tuple (channels, height, width)
    """

    def __init__(self, network: str, n_components: int, image_shape: tuple[int, int, int]):
        super().__init__()
        out_channels, height, width = image_shape
        self.first_shape, layers = {
            "conv": ((64, height // 4, width // 4), [(32, 2, 1), (out_channels, 2, 1)]),
            "fmnist": ((128, 1, 1), [(128, 2, 0), (64, 1, 0), (64, 2, 1), (1, 2, 1)]),
            "celeba": ((256, 2, 2), [(128, 2, 1), (128, 2, 1), (64, 2, 1), (64, 2, 1), (3, 2, 1)]),
        }[network]
        self.input = nn.Linear(n_components, prod(self.first_shape))
        parts: list[nn.Module] = [nn.ReLU(inplace=True)]
        channels = self.first_shape[0]
        for index, (out, stride, padding) in enumerate(layers):
            is_last = index == len(layers) - 1
            parts.append(nn.ConvTranspose2d(channels, out, 4, stride, padding, bias=is_last))
            if not is_last:
                parts += [nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
        self.convolutions = nn.Sequential(*parts, nn.Identity() if network == "conv" else nn.Sigmoid())

    def forward(self, codes: Tensor) -> Tensor:
        """Return the reconstructions as flat rows."""
        return self.convolutions(self.input(codes).unflatten(-1, self.first_shape)).flatten(1)
