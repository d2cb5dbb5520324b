"""What the estimators share that may read rows with missing entries, which are NaN."""

import numpy as np

from skvardict._utils.types import Array
from skvardict.estimators._base import BaseCoder
from skvardict.metrics._reconstruction import observed_r2
from skvardict.rows import Rows, to_array


class MissingEntries(BaseCoder):
    """Estimators with a parameter `missing`, ``"error"`` or ``"mask"``."""

    missing: str

    @property
    def _allows_missing(self) -> bool:  # type: ignore[override]
        return self.missing == "mask"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allows_missing
        return tags

    def _r2(self, target: Rows, reconstruction: Array) -> float:
        values = to_array(target.X)
        missing = np.isnan(values) if self._allows_missing else np.zeros(0, bool)
        if not missing.any():
            return super()._r2(target, reconstruction)
        return observed_r2(values, ~missing, to_array(reconstruction))
