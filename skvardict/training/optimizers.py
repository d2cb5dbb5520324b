"""Optimisers as parts: settings, from which the groups of a model's parameters and the steps on them are made.

The steps are torch's own fused functions. Its optimiser classes are left out: the first of them that a process makes
imports torch's compiler, two seconds and 80 MB for nothing that is used here. Rates, decays and norms of a group may
also be tensors of shape (M,), for parameters of M models that are stacked along a leading axis.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import NON_NEGATIVE, POSITIVE, Interval, StrOptions
from skvardict._utils import ranks
from skvardict._utils.parameters import Part, check_part, parameter, with_parameters
from skvardict.functional import is_on, number_like, numbers_like, per_batch, stack_weights, to_host
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
        return GradientSteps([settings for group in groups for settings in self._settings(group)], self._rule())

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        super().check()
        check_part(self.schedule)
        check_part(self.encoder_schedule)

    @abstractmethod
    def _rule(self) -> "_Rule":
        """Return how a step follows from a gradient."""

    def _settings(self, group: ParameterGroup) -> list[dict[str, Any]]:
        """Return the groups for the weights and, where they decay otherwise, the biases of a part."""
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

    def _rule(self) -> "_Rule":
        return _AdamRule(*self.betas)


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
    dictionary_weight_decay: float = parameter(
        default=0.0,
        accepts=NON_NEGATIVE,
        kind="float",
        text="kappa of ``A += eta (mean(r z^T) - 2 kappa A)``, in addition to `weight_decay`, which stands beside the "
        "gradient of the mean over features: ``weight_decay = 4 kappa / n_features``.",
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

    def _rule(self) -> "_Rule":
        return _MomentumRule()

    def _settings(self, group: ParameterGroup) -> list[dict[str, Any]]:
        if group.is_dictionary and self.dictionary_learning_rate is not None:
            (atoms,) = group.parameters.values()
            n_features = atoms.shape[-1]
            return [
                {
                    "params": [atoms],
                    # The gradient of the mean squared error is 2/d times mean(r z^T).
                    "lr": self.dictionary_learning_rate * n_features / 2,
                    "weight_decay": self.weight_decay
                    + group.weight_decay
                    + 4 * self.dictionary_weight_decay / n_features,
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


class _Moving(NamedTuple):
    """A parameter with its gradient and what is remembered of it."""

    tensor: Tensor
    gradient: Tensor
    state: dict[str, Tensor]


class _Rule(ABC):
    """How the parameters of a group move."""

    state_names: tuple[str, ...]

    @abstractmethod
    def first_state(self, tensor: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the state of a parameter before its first step."""

    def count_(self, states: list[dict[str, Tensor]]) -> None:
        """Count the step that is about to begin, of all groups at once, where the rule counts steps."""
        steps = [state["step"] for state in states if "step" in state]
        if steps:
            torch._foreach_add_(steps, 1)

    def step_(self, group: Mapping[str, Any], moving: list[_Moving]) -> None:
        """Make a step, in place."""
        if not (isinstance(group["lr"], Tensor) or isinstance(group["weight_decay"], Tensor)):
            self.fused_(group, *map(list, zip(*moving, strict=True)))
            return
        tensors, gradients, states = map(list, zip(*moving, strict=True))
        if is_on(group["weight_decay"]):
            decays = [_by_member(group["weight_decay"], tensor) for tensor in tensors]
            gradients = [torch.addcmul(*each) for each in zip(gradients, decays, tensors, strict=True)]
        # The step at rate one, from zero: one rate per model is more than the fused functions take.
        moves = [torch.zeros_like(tensor) for tensor in tensors]
        self.fused_({**group, "lr": 1.0, "weight_decay": 0.0}, moves, gradients, states)
        for tensor, move in zip(tensors, moves, strict=True):
            tensor.addcmul_(move, _by_member(group["lr"], tensor))

    @abstractmethod
    def fused_(
        self, group: Mapping[str, Any], tensors: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]]
    ) -> None:
        """Make the step by torch's fused function, for a rate and a decay that are numbers."""


@dataclass(frozen=True)
class _AdamRule(_Rule):
    """``m <- lerp(g, m, beta_1)``, ``v <- lerp(g^2, v, beta_2)``, ``w -= rate m / (sqrt(v) + eps)``, unbiased."""

    beta_1: float
    beta_2: float
    eps: float = 1e-8
    state_names = ("step", "exp_avg", "exp_avg_sq")

    def first_state(self, tensor: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        moments = {name: torch.zeros_like(tensor) for name in self.state_names[1:]}
        return {"step": torch.zeros((), dtype=torch.float32, device=tensor.device), **moments}

    def fused_(
        self, group: Mapping[str, Any], tensors: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]]
    ) -> None:
        steps, means, squares = ([state[name] for state in states] for name in self.state_names)
        steps = [step.flatten()[0] if step.dim() else step for step in steps]  # of several models: all alike
        torch._fused_adam_(
            tensors,
            gradients,
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=group["weight_decay"],
            eps=self.eps,
            amsgrad=False,
            maximize=False,
        )


@dataclass(frozen=True)
class _MomentumRule(_Rule):
    """``b <- momentum b + g``, ``w -= rate b``, or with Nesterov's momentum ``w -= rate (g + momentum b)``."""

    state_names = ("momentum_buffer",)

    def first_state(self, tensor: Tensor, group: Mapping[str, Any]) -> dict[str, Tensor]:
        # From zeros the first buffer is the gradient.
        names = self.state_names if group.get("momentum", 0) else ()
        return {name: torch.zeros_like(tensor) for name in names}

    def fused_(
        self, group: Mapping[str, Any], tensors: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]]
    ) -> None:
        momentum = group.get("momentum", 0.0)
        torch._fused_sgd_(
            tensors,
            gradients,
            [state["momentum_buffer"] for state in states] if momentum else [],
            lr=group["lr"],
            momentum=momentum,
            nesterov=group.get("nesterov", False),
            weight_decay=group["weight_decay"],
            dampening=0.0,
            maximize=False,
            is_first_step=False,
        )


class GradientSteps:
    """Steps on groups of parameters, with schedules and bounded gradients.

    Parameters
    ----------
    groups : list of dict
        "params", their "part", "lr" and "weight_decay"; what the rule asks for; "schedule" (a factor of the rate) and
        "max_grad_norm", both of which may be None.
    rule : _Rule
    """

    is_settled = True  # whether no rate is on its way to somewhere

    def __init__(self, groups: list[dict[str, Any]], rule: _Rule):
        self.groups = [{**group, "initial_lr": group["lr"]} for group in groups]
        self.rule = rule
        self._stepped = [(group, tensor) for group in self.groups for tensor in group["params"]]
        if len({id(tensor) for _, tensor in self._stepped}) < len(self._stepped):
            raise ValueError("A parameter belongs to decoder and encoder. Build them of parameters of their own.")
        self._states: list[dict[str, Tensor]] = [{} for _ in self._stepped]
        # The bound is that of a part: its weights and biases together.
        bounds = {group["part"]: group["max_grad_norm"] for group in groups if group.get("max_grad_norm") is not None}
        self._bounded = [
            ([tensor for group in groups if group["part"] == part for tensor in group["params"]], norm)
            for part, norm in bounds.items()
        ]

    def advance(self, position: Position) -> None:
        """Set the rates of the step that is about to begin."""
        scheduled = [group for group in self.groups if group["schedule"] is not None]
        for group in scheduled:
            group["lr"] = group["initial_lr"] * group["schedule"](position)
        self.is_settled = all(getattr(group["schedule"], "is_settled", True) for group in scheduled)

    def report(self) -> dict[str, float]:
        """Return what happened since the last call, for the history."""
        return {}

    def step(self, made: Step, X: Tensor, generator: torch.Generator) -> None:
        """Make one step down the gradient of the sum of the losses, which are means over the rows of the batch."""
        self.descend(made.losses.values(), X.shape[-2])

    def descend(self, losses: Iterable[Tensor], n_rows: int = 1) -> None:
        """Make one step down the gradient of the sum of `losses`, of one number or one per stacked model each.

        They are means over `n_rows` rows, the part of the batch that is in this process.
        """
        # A part may have nothing to learn; older releases of torch refuse such a loss.
        losses = [loss.sum() if loss.dim() else loss for loss in losses if loss.requires_grad]
        if ranks.current() is not None:
            losses = [loss * ranks.share(n_rows) for loss in losses]
        if losses:  # else there is nothing to learn, or gradients are there already
            torch.autograd.backward(losses)
        _sum_gradients_([tensor for _, tensor in self._stepped], n_rows)
        for parameters, norm in self._bounded:
            _bound_gradients_(parameters, norm)
        self.move()

    @torch.no_grad()
    def move(self) -> None:
        """Make the step of the gradients that parameters have, and drop these."""
        states = iter(self._states)
        groups = []
        for group in self.groups:
            pairs = zip(group["params"], states)
            moving = [_Moving(tensor, tensor.grad, state) for tensor, state in pairs if tensor.grad is not None]
            for tensor, _, state in moving:
                if not state:
                    state.update(self.rule.first_state(tensor, group))
            if moving:
                groups.append((group, moving))
        self.rule.count_([state for _, moving in groups for _, _, state in moving])
        for group, moving in groups:
            self.rule.step_(group, moving)
        for _, tensor in self._stepped:
            tensor.grad = None

    def moments(self) -> dict[str, Tensor]:
        """Return the state of all parameters by name, made where there is none yet."""
        for (group, tensor), state in zip(self._stepped, self._states, strict=True):
            if not state:
                state.update(self.rule.first_state(tensor, group))
        return {f"{index}.{name}": value for index, state in enumerate(self._states) for name, value in state.items()}

    def together(
        self, members: Sequence["GradientSteps"], leaf_of: Callable[[Tensor], Tensor], moments: Mapping[str, Tensor]
    ) -> "GradientSteps":
        """Return the steps of several models as one.

        Parameters
        ----------
        members : sequence of GradientSteps
            Of groups that agree but for rates and decays. Their rates are what counts.
        leaf_of : callable
            From a parameter of this model to the stacked one.
        moments : dict of Tensor
            Those of :meth:`moments`, stacked.
        """
        return _GradientStepsTogether(members, leaf_of, moments)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return moments as arrays named ``<index of the parameter>.<name>``, and what rates are relative to."""
        moments = to_host(
            {f"{index}.{name}": value for index, state in enumerate(self._states) for name, value in state.items()}
        )
        return {
            name: value.numpy().copy()
            for name, value in moments.items()
            if moments.get(f"{name.partition('.')[0]}.step", 1) > 0
        } | {"bounds": np.array([group.get("bound", 0.0) for group, _ in self._stepped])}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set moments and rates to what :meth:`to_arrays` returned."""
        for (group, _), bound in zip(self._stepped, arrays["bounds"], strict=True):
            # The weights that rates were relative to are no longer there; without such rates the bound is 0.
            if "bound" in group and bound > 0:
                group["bound"] = float(bound)
                group["lr"] = group["initial_lr"] = group["rate"] * group["bound"]
        for index, (_, tensor) in enumerate(self._stepped):
            names = [name for name in self.rule.state_names if f"{index}.{name}" in arrays]
            self._states[index] = {name: _state_like(tensor, name, arrays[f"{index}.{name}"]) for name in names}

    def state_shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Return shapes by name: first of what is always there, then of the moments of every parameter."""
        return [
            {"bounds": (len(self._stepped),)},
            *(
                {f"{index}.{key}": () if key == "step" else tuple(tensor.shape) for key in self.rule.state_names}
                for index, (_, tensor) in enumerate(self._stepped)
            ),
        ]


class _GradientStepsTogether(GradientSteps):
    """Steps of stacked parameters, at the rates of the members, each of which is at a position of its own."""

    def __init__(
        self, members: Sequence[GradientSteps], leaf_of: Callable[[Tensor], Tensor], moments: Mapping[str, Tensor]
    ):
        self.members = members
        groups = [{**group, "params": [leaf_of(tensor) for tensor in group["params"]]} for group in members[0].groups]
        super().__init__(groups, members[0].rule)
        for index, state in enumerate(members[0]._states):
            self._states[index] = {name: moments[f"{index}.{name}"] for name in state}
        self._bounded = [
            (tensors, numbers_like([member._bounded[part][1] for member in members], tensors[0]))
            for part, (tensors, _) in enumerate(self._bounded)
        ]
        for name in ("weight_decay", "lr", "initial_lr"):
            self._take(name)
        schedules = [[group["schedule"] for group in member.groups] for member in members]
        self._schedules_agree = all(_are_alike(schedules[0], own) for own in schedules)

    def advance(self, position: Any) -> None:
        """Set the rates of the step that is about to begin, at one position for each member."""
        if not self._schedules_agree:
            for member, at in zip(self.members, position, strict=True):
                member.advance(at)
            self._take("lr")
            return
        super().advance(position[0])
        for member in self.members:
            member.is_settled = self.is_settled
        if len(set(position)) > 1:
            for group in self.groups:
                factors = [1.0 if group["schedule"] is None else group["schedule"](at) for at in position]
                group["lr"] = group["initial_lr"] * per_batch(stack_weights(factors, group["params"][0]))

    def _take(self, name: str) -> None:
        """Take a setting of all groups from the members; a number, where they agree."""
        for index, group in enumerate(self.groups):
            rates = [member.groups[index][name] for member in self.members]
            group[name] = per_batch(stack_weights(rates, group["params"][0]))


def _are_alike(schedules: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether schedules are the same, as far as can be told: parts print all that they are."""
    pairs = zip(schedules, others, strict=True)
    return all(one is other or (isinstance(one, Part) and repr(one) == repr(other)) for one, other in pairs)


def _by_member(value: float | Tensor, tensor: Tensor) -> Tensor:
    """Return a number, or one per stacked model (M,), in a shape that multiplies `tensor` (M, ...)."""
    value = number_like(value, tensor)
    return value.reshape(value.shape + (1,) * (tensor.dim() - 1)) if value.dim() else value


def _sum_gradients_(parameters: list[Tensor], n_rows: int) -> None:
    """Replace gradients of the loss of `n_rows` rows of this process by those of the loss of all processes."""
    gradients = [tensor.grad for tensor in parameters if tensor.grad is not None]
    if ranks.current() is None or not gradients:
        return
    for gradient in gradients if n_rows == 0 else ():  # a mean over no rows is not a number
        gradient.zero_()
    for gradient, summed in zip(gradients, ranks.all_sums(*gradients), strict=True):
        gradient.copy_(summed)


def _bound_gradients_(parameters: list[Tensor], norm: float | Tensor) -> None:
    """Scale longer gradients down to `norm`, that of all parameters together; one per stacked model, if a tensor."""
    if not isinstance(norm, Tensor):
        torch.nn.utils.clip_grad_norm_(parameters, norm)
        return
    gradients = [tensor.grad for tensor in parameters if tensor.grad is not None]
    if gradients:
        lengths = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
        # The small number is that of torch's function.
        factor = (norm / (torch.linalg.vector_norm(lengths, dim=0) + 1e-6)).clamp_max(1)
        for gradient in gradients:
            gradient.mul_(_by_member(factor, gradient))


def _state_like(tensor: Tensor, name: str, array: np.ndarray) -> Tensor:
    dtype = torch.float32 if name == "step" else tensor.dtype
    return torch.from_numpy(np.array(array)).to(dtype=dtype, device=tensor.device)
