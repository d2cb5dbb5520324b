"""What public functions take and give, as types."""

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

__all__ = ["Array", "ArrayLike", "FilePath", "Images", "RandomState"]

Array = np.ndarray | Tensor  # a tensor where the caller gave one
Images = np.ndarray | Sequence[ArrayLike]  # of several sizes
FilePath = str | os.PathLike[str]
RandomState = int | np.random.RandomState | None
