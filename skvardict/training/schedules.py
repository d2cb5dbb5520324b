"""Schedules: from the position in training to a factor or a value. The loop tells the position before every step."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import cos, pi
from numbers import Real
from typing import Any, ClassVar

from skvardict._sklearn import COUNT, NON_NEGATIVE, POSITIVE, Interval, StrOptions
from skvardict._utils.parameters import Part, parameter, with_parameters
from skvardict.training.protocol import Position


class Schedule(Part, ABC):
    """Base of all schedules: a function of the position in training."""

    is_settled: ClassVar[bool] = True  # whether epochs under it may be judged by early stopping

    @abstractmethod
    def __call__(self, position: Position) -> float:
        """Return the factor or value at `position`."""


def _total(unit: str) -> Any:
    """Return the field of schedules whose constants belong to a training of a known length."""
    return parameter(
        default=None,
        accepts=[*COUNT, None],
        kind="int or None",
        text=f"{unit} that training counts as, however long it is, so that a shorter run has the same shape; None: its "
        "own.",
    )


@with_parameters
class StepDecay(Schedule):
    """``factor^(epoch // n_epochs)``: a rate that falls in steps.

    Examples
    --------
    >>> from skvardict.training import Position, StepDecay
    >>> StepDecay(0.5, 30)(Position(step=0, epoch=61.5, n_epochs=100))
    0.25
    >>> StepDecay(0.5, 30, total=100)(Position(step=0, epoch=6.15, n_epochs=10))
    0.25
    """

    factor: float = parameter(default=0.5, accepts=POSITIVE, kind="float", text="Factor of every fall.", kw_only=False)
    n_epochs: int = parameter(
        default=1, accepts=COUNT, kind="int", text="Epochs from one fall to the next.", kw_only=False
    )
    total: int | None = _total("Epochs")

    def __call__(self, position: Position) -> float:
        """Return the factor of the learning rate."""
        epoch = position.epoch if self.total is None else self.total * position.epoch / position.n_epochs
        return self.factor ** (int(epoch) // self.n_epochs)


@with_parameters
class CosineRate(Schedule):
    """Linear rise over a share of training, then half a cosine down to zero over the rest.

    Epochs beyond those planned begin a new cycle, so that a continued model goes on learning. Early stopping judges no
    epoch of it.

    Examples
    --------
    >>> from skvardict.training import CosineRate, Position
    >>> CosineRate(warmup=0.1)(Position(step=0, epoch=5.0, n_epochs=100))
    0.5
    """

    is_settled: ClassVar[bool] = False

    warmup: float = parameter(
        default=0.05,
        accepts=[Interval(Real, 0, 1, closed="left")],
        kind="float",
        text="Share of training in which the rate rises.",
        kw_only=False,
    )
    start: float = parameter(
        default=0.0,
        accepts=[Interval(Real, 0, 1, closed="both")],
        kind="float",
        text="Factor at the beginning of the rise.",
    )

    def __call__(self, position: Position) -> float:
        """Return the factor of the learning rate."""
        phase = (position.epoch % position.n_epochs) / position.n_epochs
        if phase < self.warmup:
            # A rate of exactly zero would waste the first step.
            return max(self.start + (1 - self.start) * phase / self.warmup, 1e-3)
        return 0.5 * (1 + cos(pi * (phase - self.warmup) / (1 - self.warmup)))


@with_parameters
class Ramp(Schedule):
    """`start` until `begin`, then linear to one at `end`.

    Examples
    --------
    >>> from skvardict.training import Position, Ramp
    >>> Ramp(0.5, 0, 100)(Position(step=50, epoch=0.0, n_epochs=1))
    0.75
    """

    start: float = parameter(
        default=0.1, accepts=[Interval(Real, 0, 1, closed="both")], kind="float", text="First value.", kw_only=False
    )
    begin: float = parameter(
        default=0.0375, accepts=NON_NEGATIVE, kind="float", text="Where the rise begins, in `unit`.", kw_only=False
    )
    end: float = parameter(
        default=0.15,
        accepts=NON_NEGATIVE,
        kind="float",
        text="Where the value is one, in `unit`; at least `begin`.",
        kw_only=False,
    )
    unit: str = parameter(
        default="step",
        accepts=[StrOptions({"step", "fraction"})],
        kind='{"step", "fraction"}',
        text="Optimiser steps, or fractions of the planned epochs.",
    )

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        super().check()
        if self.begin > self.end:
            raise ValueError(f"Ramp: begin={self.begin!r} lies behind end={self.end!r}. Use begin <= end.")

    def __call__(self, position: Position) -> float:
        """Return the factor."""
        at = position.step if self.unit == "step" else position.epoch / position.n_epochs
        if at >= self.end:
            return 1.0
        if at <= self.begin:
            return self.start
        return self.start + (1 - self.start) * ((at - self.begin) / (self.end - self.begin))


@with_parameters
class Decay(Schedule):
    """``max(end, start * factor^step)``.

    Examples
    --------
    >>> from skvardict.training import Decay, Position
    >>> Decay(1.0, 0.5, 0.9)(Position(step=1, epoch=0.0, n_epochs=1))
    0.9
    >>> Decay(1.0, 0.5, 0.9, total=10)(Position(step=5, epoch=0.1, n_epochs=1))
    0.9
    """

    start: float = parameter(default=1.0, accepts=POSITIVE, kind="float", text="First value.", kw_only=False)
    end: float = parameter(default=0.5, accepts=POSITIVE, kind="float", text="Lowest value.", kw_only=False)
    factor: float = parameter(
        default=0.9995,
        accepts=[Interval(Real, 0, 1, closed="right")],
        kind="float",
        text="Factor per step.",
        kw_only=False,
    )
    total: int | None = _total("Steps")

    def __call__(self, position: Position) -> float:
        """Return the value."""
        step = position.step if self.total is None else self.total * position.epoch / position.n_epochs
        return max(self.end, self.start * self.factor**step)


def depends_on_length(schedule: Callable[[Position], float]) -> bool:
    """Return whether a schedule has other values at the same epochs of a longer run; ten epochs are looked at."""
    places = [Position(10 * epoch, float(epoch), 10) for epoch in range(10)]
    return any(schedule(place) != schedule(place._replace(n_epochs=1000)) for place in places)
