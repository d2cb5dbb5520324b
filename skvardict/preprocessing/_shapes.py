"""The image shape behind a flattened row."""

from math import isqrt, prod


def resolve_image_shape(name: str, n_features: int, image_shape: tuple[int, int] | None) -> tuple[int, int]:
    """Return `image_shape` if it fits `n_features`, or the shape of a square image where it is None.

    Raises
    ------
    ValueError
        If the shape does not fit, or no square image has that many pixels.
    """
    if image_shape is None:
        side = isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"{name} takes rows for square images where image_shape is None, but {n_features} features "
                "are no square number. Pass image_shape=(height, width)."
            )
        return side, side
    if len(image_shape) != 2 or prod(image_shape) != n_features:
        raise ValueError(
            f"{name} has image_shape={tuple(image_shape)}, {prod(image_shape)} pixels, but the rows have "
            f"{n_features} features. Pass image_shape=(height, width) with height * width = {n_features}."
        )
    height, width = (int(side) for side in image_shape)
    return height, width
