"""Optimisers as parts: settings, from which the groups of a model's parameters and the steps on them are made."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import sqrt
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import NON_NEGATIVE, POSITIVE, Interval, StrOptions
from skvardict._utils.parameters import Part, check_part, parameter, with_parameters
from skvardict.training.protocol import ParameterGroup, Position, Step

Schedule = Callable[[Position], float]


@with_parameters
class _Optimizer(Part, ABC):
    """What gradient optimisers share: rates, decays and schedules of decoder and encoder."""

    learning_rate: float = parameter(
        default=1e-3,
        accepts=POSITIVE,
        kind="float",
        text="Of the decoder, and of the encoder unless `encoder_learning_rate` is given.",
        kw_only=False,
    )
    encoder_learning_rate: float | None = parameter(
        default=None, accepts=[*POSITIVE, None], kind="float or None", text="None: as `learning_rate`."
    )
    weight_decay: float = parameter(
        default=0.0, accepts=NON_NEGATIVE, kind="float", text="Of the decoder, added to its gradient."
    )
    encoder_weight_decay: float = parameter(
        default=0.0, accepts=NON_NEGATIVE, kind="float", text="Of the encoder, added to its gradient."
    )
    bias_decay: float | None = parameter(
        default=None,
        accepts=[*NON_NEGATIVE, None],
        kind="float or None",
        text="Weight decay of the decoder's biases; None: as `weight_decay`.",
    )
    encoder_bias_decay: float | None = parameter(
        default=None,
        accepts=[*NON_NEGATIVE, None],
        kind="float or None",
        text="Weight decay of the encoder's biases; None: as `encoder_weight_decay`.",
    )
    schedule: Schedule | None = parameter(
        default=None,
        accepts=[callable, None],
        kind="schedule or None",
        text="Factor of the learning rates: :class:`StepDecay`, :class:`CosineRate`, or a function of the "
        ":class:`Position` in training.",
    )
    encoder_schedule: Schedule | str | None = parameter(
        default="same",
        accepts=[callable, StrOptions({"same"}), None],
        kind='schedule, "same" or None',
        text='Of the encoder\'s rate; "same" as `schedule`, None: constant.',
    )

    def start(self, groups: Iterable[ParameterGroup]) -> "GradientSteps":
        """Return what steps the parameters of `groups`."""
        self.check()
        return GradientSteps([settings for group in groups for settings in self._settings(group)], self._steps())

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        super().check()
        check_part(self.schedule)
        check_part(self.encoder_schedule)

    @abstractmethod
    def _steps(self) -> "_Steps":
        """Return torch's optimiser with these settings."""

    def _settings(self, group: ParameterGroup) -> list[dict[str, Any]]:
        """Return torch's groups for the weights and, where they decay otherwise, the biases of a part."""
        is_encoder = group.part == "encoder"
        own_rate = self.encoder_learning_rate if is_encoder else None
        decay, bias_decay = (
            (self.encoder_weight_decay, self.encoder_bias_decay) if is_encoder else (self.weight_decay, self.bias_decay)
        )
        schedule = self.encoder_schedule if is_encoder and self.encoder_schedule != "same" else self.schedule
        settings = {
            "lr": self.learning_rate if own_rate is None else own_rate,
            "schedule": schedule,
            "part": group.part,
        }
        if bias_decay is None:
            bias_decay = decay
        if bias_decay == decay + group.weight_decay:
            return [{**settings, "params": list(group.parameters.values()), "weight_decay": bias_decay}]
        biases = [tensor for name, tensor in group.parameters.items() if "bias" in name]
        weights = [tensor for name, tensor in group.parameters.items() if "bias" not in name]
        split = [{**settings, "params": weights, "weight_decay": decay + group.weight_decay}]
        return [*split, {**settings, "params": biases, "weight_decay": bias_decay}] if biases else split


@with_parameters
class Adam(_Optimizer):
    """Adam, with coupled weight decay.

    References
    ----------
    Kingma & Ba, Adam: a method for stochastic optimization, ICLR 2015.

    Examples
    --------
    >>> from skvardict.training import Adam, StepDecay
    >>> Adam(3e-4, encoder_learning_rate=1e-4, schedule=StepDecay(0.5, 30))
    Adam(encoder_learning_rate=0.0001, learning_rate=0.0003,
         schedule=StepDecay(n_epochs=30))
    """

    relative: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether rates are in units of the weights at the start: a matrix that was drawn uniformly from +-b has b "
        "times the rate, the biases behind it too. One rate then serves every size and scale.",
    )
    betas: tuple[float, float] = parameter(
        default=(0.9, 0.999),
        accepts=[tuple],
        kind="tuple of two floats",
        text="Decay rates of the moments, both in [0, 1).",
    )

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        super().check()
        betas: tuple[Any, ...] = self.betas
        valid = len(betas) == 2 and all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas)
        if not valid:
            raise ValueError(f"Adam: betas must be (beta_1, beta_2), both in [0, 1), but got {self.betas!r}.")

    def _settings(self, group: ParameterGroup) -> list[dict[str, Any]]:
        settings = super()._settings(group)
        return [one for many in settings for one in _relative_to_weights(many)] if self.relative else settings

    def _steps(self) -> "_Steps":
        betas = self.betas
        return _Steps(
            lambda groups: torch.optim.Adam(groups, betas=betas, fused=True), ("step", "exp_avg", "exp_avg_sq")
        )


@with_parameters
class SGD(_Optimizer):
    """Stochastic gradient descent with Nesterov momentum and bounded gradients, and plain steps on a dictionary.

    References
    ----------
    Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, appendix C (settings).

    Examples
    --------
    >>> from skvardict.training import SGD
    >>> SGD(1e-2, momentum=0.5)
    SGD(momentum=0.5)
    """

    learning_rate: float = parameter(default=1e-2, kw_only=False)
    dictionary_learning_rate: float | None = parameter(
        default=None,
        accepts=[*POSITIVE, None],
        kind="float or None",
        text="Step eta of a linear dictionary, ``A += eta mean(r z^T)`` with residuals r, without momentum; "
        "variational models make it smaller for a batch whose codes would let it diverge. None: `learning_rate` is the "
        "dictionary's too.",
    )
    momentum: float = parameter(
        default=0.9, accepts=[Interval(Real, 0, 1, closed="left")], kind="float", text="Momentum of the networks."
    )
    nesterov: bool = parameter(
        default=True, accepts=["boolean"], kind="bool", text="Whether the momentum is Nesterov's."
    )
    max_grad_norm: float | None = parameter(
        default=1.0,
        accepts=[*POSITIVE, None],
        kind="float or None",
        text="Norm to which longer gradients of a network are scaled down.",
    )
    dictionary_schedule: Schedule | None = parameter(
        default=None, accepts=[callable, None], kind="schedule or None", text="Factor of `dictionary_learning_rate`."
    )

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        super().check()
        check_part(self.dictionary_schedule)

    def _steps(self) -> "_Steps":
        return _Steps(lambda groups: torch.optim.SGD(groups, lr=self.learning_rate, fused=True), ("momentum_buffer",))

    def _settings(self, group: ParameterGroup) -> list[dict[str, Any]]:
        if group.is_dictionary and self.dictionary_learning_rate is not None:
            (atoms,) = group.parameters.values()
            return [
                {
                    "params": [atoms],
                    # The gradient of the mean squared error is 2/d times mean(r z^T).
                    "lr": self.dictionary_learning_rate * atoms.shape[-1] / 2,
                    "weight_decay": self.weight_decay + group.weight_decay,
                    "schedule": self.dictionary_schedule,
                    "part": group.part,
                }
            ]
        further = {
            "momentum": self.momentum,
            "nesterov": self.nesterov and self.momentum > 0,
            "max_grad_norm": self.max_grad_norm,
        }
        return [{**settings, **further} for settings in super()._settings(group)]


def _relative_to_weights(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a group per tensor, with the rate times the bound that uniform weights of its size would have."""
    groups, bound = [], 1.0
    for tensor in settings["params"]:
        size = float(tensor.detach().square().mean().sqrt()) * sqrt(3)
        bound = size if tensor.dim() > 1 and size > 0 else bound
        groups.append(
            {**settings, "params": [tensor], "rate": settings["lr"], "lr": settings["lr"] * bound, "bound": bound}
        )
    return groups


@dataclass(frozen=True)
class _Steps:
    """Torch's optimiser for given groups, and the names of its state per parameter."""

    build: Callable[[list[dict]], torch.optim.Optimizer]
    state_names: tuple[str, ...]


class GradientSteps:
    """Steps of one of torch's optimisers on groups with schedules and bounded gradients.

    Parameters
    ----------
    groups : list of dict
        Torch's groups; "schedule" (a factor of the rate), "max_grad_norm" and "part" are ours.
    steps : _Steps
    """

    is_settled = True  # whether no rate is on its way to somewhere

    def __init__(self, groups: list[dict], steps: _Steps):
        self.optimizer = steps.build(groups)
        self._state_names = steps.state_names
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        # The bound is that of a part: its weights and biases together.
        bounds = {group["part"]: group["max_grad_norm"] for group in groups if group.get("max_grad_norm") is not None}
        self._bounded = [
            ([tensor for group in groups if group["part"] == part for tensor in group["params"]], norm)
            for part, norm in bounds.items()
        ]

    def advance(self, position: Position) -> None:
        """Set the rates of the step that is about to begin."""
        scheduled = [group for group in self.optimizer.param_groups if group["schedule"] is not None]
        for group in scheduled:
            group["lr"] = group["initial_lr"] * group["schedule"](position)
        self.is_settled = all(getattr(group["schedule"], "is_settled", True) for group in scheduled)

    def report(self) -> dict[str, float]:
        """Return what happened since the last call, for the history."""
        return {}

    def step(self, made: Step, X: Tensor, generator: torch.Generator) -> None:
        """Make one step down the gradient of the sum of the losses."""
        torch.stack(list(made.losses.values())).sum().backward()
        for parameters, norm in self._bounded:
            torch.nn.utils.clip_grad_norm_(parameters, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return moments as arrays named ``<index of the parameter>.<name>``, and what rates are relative to."""
        return {
            f"{index}.{name}": value.detach().cpu().numpy().copy()
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
            if value is not None  # the momentum of SGD without momentum
        } | {"bounds": np.array([group.get("bound", 0.0) for group, _ in self._stepped()])}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set moments and rates to what :meth:`to_arrays` returned."""
        state: dict[int, dict[str, Any]] = {}
        for (group, _), bound in zip(self._stepped(), arrays["bounds"], strict=True):
            # The weights that rates were relative to are no longer there; without such rates the bound is 0.
            if "bound" in group and bound > 0:
                group["bound"] = float(bound)
                group["lr"] = group["initial_lr"] = group["rate"] * group["bound"]
        for name, array in arrays.items():
            if name == "bounds":
                continue
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = torch.from_numpy(np.array(array))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})

    def state_shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Return the shapes of bounds and, for every parameter, moments by name; the first step makes all of one."""
        stepped = [tensor for _, tensor in self._stepped()]
        return [
            {"bounds": (len(stepped),)},
            *(
                {f"{index}.{key}": () if key == "step" else tuple(tensor.shape) for key in self._state_names}
                for index, tensor in enumerate(stepped)
            ),
        ]

    def _stepped(self) -> list[tuple[dict[str, Any], Tensor]]:
        """Return every parameter with its group."""
        return [(group, tensor) for group in self.optimizer.param_groups for tensor in group["params"]]
