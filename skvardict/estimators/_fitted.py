"""The fitted model as modules: rebuilt from the arrays in `params_` where it is asked for, and kept at hand."""

from collections.abc import Mapping
from operator import is_
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skvardict._utils.random import make_generator

# Per estimator, outside the instance, so that nothing live is pickled or cloned.
_at_hand: WeakKeyDictionary = WeakKeyDictionary()


class _Built(NamedTuple):
    """A model, the device and dtype it was built for, and what the estimator held: its public values, and how many."""

    model: Any
    key: tuple[torch.device, torch.dtype | None]
    public: dict[str, Any]
    n_attributes: int

    def is_of(self, state: dict[str, Any]) -> bool:
        """Return whether an estimator still holds the same objects."""
        same = all(map(is_, self.public.values(), map(state.get, self.public)))
        return same and len(state) == self.n_attributes


def fitted_model(estimator, device: torch.device, dtype: torch.dtype | None = None):
    """Return the model with the fitted parameters; in their own dtype by default."""
    state = vars(estimator)
    if "params_" not in state:
        check_is_fitted(estimator)
    cached, key = _at_hand.get(estimator), (device, dtype)
    # Parameters may have been set since, e.g. those of the solver: what is rebuilt must not depend on the cache.
    if cached is None or cached.key != key or not cached.is_of(state):
        public = {name: value for name, value in state.items() if not name.startswith("_")}
        cached = _Built(_rebuild(_as_it_was(estimator, state), device, dtype), key, public, len(state))
        _at_hand[estimator] = cached
    return cached.model


def fitted_components(estimator) -> np.ndarray:
    """Return the atoms of the decoder as rows; of a decoder with hidden layers, its response to unit codes."""
    if "decoder.components" in estimator.params_:
        return estimator.params_["decoder.components"].copy()
    decoder = fitted_model(estimator, torch.device("cpu")).decoder
    with torch.no_grad():
        if hasattr(decoder, "atoms"):
            return decoder.atoms().numpy()
        units = torch.eye(estimator.n_components, dtype=next(decoder.parameters()).dtype)
        return (decoder(units) - decoder(torch.zeros_like(units[:1]))).numpy()


def replaced_params(estimator, modules: Mapping[str, nn.Module]) -> dict[str, np.ndarray]:
    """Return the fitted parameters with those of `modules` ("decoder", "encoder") in the place of their parts'.

    Raises
    ------
    ValueError
        If names or shapes differ, a weight is not finite, or there is no such part.
    """
    params, owner = dict(estimator.params_), type(estimator).__name__
    for part, module in modules.items():
        fitted = {name: array for name, array in params.items() if name.startswith(f"{part}.")}
        given = {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
        if not fitted:
            raise ValueError(f"{owner} was fitted without an {part}, so that {part}= has no place. Leave it out.")
        for name in sorted(fitted.keys() | given.keys()):
            has = tuple(given[name].shape) if name in given else None
            wants = fitted[name].shape if name in fitted else None
            if has != wants:
                raise ValueError(
                    f"{owner}.load_modules: {name} has shape {has} in the module that was given, but {wants} in the "
                    f"fitted model. Pass a module like {part}_."
                )
            array = given[name].detach().cpu().double().numpy().astype(fitted[name].dtype)
            if not np.isfinite(array).all():
                raise ValueError(f"{owner}.load_modules: {name} holds NaN or infinity. Pass finite weights.")
            params[name] = array
    return params


def _as_it_was(estimator, state: dict[str, Any]):
    """Return the estimator with the attributes that it had; another thread may have fitted it since."""
    before = object.__new__(type(estimator))
    vars(before).update(state)
    return before


def _rebuild(estimator, device: torch.device, dtype: torch.dtype | None):
    model = estimator._build_model(estimator.n_features_in_, make_generator(0))
    with torch.no_grad():
        for part, module in model.modules().items():
            prefix = f"{part}."
            state = {
                name.removeprefix(prefix): torch.from_numpy(np.array(array))
                for name, array in estimator.params_.items()
                if name.startswith(prefix)
            }
            _check_shapes(estimator, part, module, state)
            module.to(dtype=dtype or next(iter(state.values())).dtype).load_state_dict(state)
            module.to(device).requires_grad_(False).eval()
    return model


def _check_shapes(estimator, part: str, module: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """Raise a ValueError where the parameters no longer describe the fitted model."""
    built = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    fitted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if built != fitted:
        name = next(name for name in sorted({*built, *fitted}) if built.get(name) != fitted.get(name))
        raise ValueError(
            f"{type(estimator).__name__}: {part}.{name} was fitted with shape {fitted.get(name)}, but parameters set "
            f"since then describe {built.get(name)}. Set them back, or fit anew."
        )
