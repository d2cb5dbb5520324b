"""An estimator cut at its coder: the steps before it, the coder, the steps after it."""

from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

from skvardict.estimators._base import BaseCoder


@dataclass
class Parts:
    """What an estimator consists of; the objects are its own, not copies.

    Parameters
    ----------
    before : Pipeline or None
        Steps that make the rows of the coder; None where it gets X itself.
    coder : BaseCoder
    after : Pipeline or None
        Steps that get its codes.
    """

    before: Pipeline | None
    coder: Any
    after: Pipeline | None


def cut(estimator: Any) -> Parts | str:
    """Return the parts of a coder or of a Pipeline with one coder among its steps; else, in words, why not."""
    if isinstance(estimator, BaseCoder):
        return Parts(None, estimator, None)
    name = type(estimator).__name__
    if type(estimator) is not Pipeline:
        return f"{name} is neither an estimator of skvardict nor a Pipeline"
    places = coder_places(estimator)
    if len(places) != 1:
        return f"the Pipeline has {len(places)} steps that are estimators of skvardict, not one"
    if getattr(estimator, "transform_input", None) is not None:
        return "the Pipeline transforms other input (transform_input)"
    (place,) = places
    steps = estimator.steps
    return Parts(_pipeline(steps[:place]), steps[place][1], _pipeline(steps[place + 1 :], memory=estimator.memory))


def coder_places(pipeline: Pipeline) -> list[int]:
    """Return which steps are coders."""
    return [place for place, (_, step) in enumerate(pipeline.steps) if isinstance(step, BaseCoder)]


def put_together(pipeline: Pipeline, parts: Parts) -> None:
    """Make fitted `parts` the steps of a pipeline of the same shape."""
    (place,) = coder_places(pipeline)
    name = pipeline.steps[place][0]
    before, after = ([] if part is None else part.steps for part in (parts.before, parts.after))
    pipeline.steps = [*(before or pipeline.steps[:place]), (name, parts.coder), *after]


def _pipeline(steps: list, memory: Any = None) -> Pipeline | None:
    return Pipeline(steps, memory=memory) if any(step not in (None, "passthrough") for _, step in steps) else None
