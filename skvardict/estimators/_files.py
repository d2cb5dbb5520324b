"""Fitted estimators as files that hold numbers and names only: written by `save`, read by `load`.

A file is read by checking, never by running: the class is looked up by name among the public ones, its parameters pass
the checks of `fit`, and the shapes of all weights are compared with those of the model that the parameters describe,
which is sketched without memory first.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch.overrides import TorchFunctionMode

from skvardict import networks, solvers, training
from skvardict._utils.defaults import with_defaults
from skvardict._utils.random import make_generator
from skvardict._utils.types import FilePath
from skvardict._version import __version__
from skvardict.distributions import PRIORS
from skvardict.storage.files import DamagedFileError, read_file, write_file
from skvardict.storage.packing import Arrays, pack, unpack
from skvardict.storage.parts import Omitted, pack_parameters, unpack_parameter
from skvardict.training.saved import find_problem_of_state, find_problem_of_weights

FORMAT = 2
_FITTED_NAME = re.compile(r"[a-z][a-z0-9_]*_")
_FEATURES = {"n_features_in_": int}  # what a fit leaves that learns nothing
_REQUIRED = {**_FEATURES, "params_": dict, "history_": dict, "n_iter_": int, "_train_state": dict}


class FileVersionWarning(InconsistentVersionWarning):
    """A file was written by another version of skvardict."""

    def __str__(self) -> str:
        return (
            f"The {self.estimator_name} was saved by skvardict {self.original_sklearn_version}, and this is "
            f"{self.current_sklearn_version}. Its codes may differ from those of the version that fitted it: compare "
            "them on known rows, or fit anew."
        )


@with_defaults
def save(estimator: Any, path: FilePath) -> None:
    """Write a fitted estimator, transformer or pipeline of skvardict to a file without code in it.

    Parameters
    ----------
    estimator : estimator, transformer or Pipeline
        An estimator, :class:`SparseCoder`, a transformer of :mod:`skvardict.preprocessing`, or a Pipeline of these. A
        step may be "passthrough". A pipeline's `memory` is not part of the file, nor is what ``set_output`` has set.
    path : path
        Read by :func:`load`. The file is written whole or not at all.

    Raises
    ------
    NotFittedError
    TypeError
        If a step belongs to another library: a file without code can name no class but those of skvardict. The message
        says what to use.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> import skvardict
    >>> from sklearn.pipeline import make_pipeline
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = np.random.default_rng(0).standard_normal((100, 8))
    >>> coder = skvardict.StandardDictionaryLearning(4, max_iter=2, random_state=0)
    >>> pipeline = make_pipeline(GlobalStandardizer(), coder).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "pipeline.skv")
    >>> skvardict.save(pipeline, path)
    >>> bool((skvardict.load(path).transform(X) == pipeline.transform(X)).all())
    True
    """
    arrays: Arrays = {}
    if _public_estimators().get(type(estimator).__name__) is type(estimator):
        content = {"kind": "estimator", "format": FORMAT, **_describe(estimator, arrays)}
    else:
        content = {"kind": "pipeline", "format": FORMAT, **_describe_steps(estimator, arrays)}
    versions = {
        "skvardict": __version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    write_file(path, arrays, {**content, "versions": versions})


def _describe(estimator, arrays: Arrays, prefix: str = "") -> dict[str, Any]:
    """Return class, parameters and fitted attributes, and put their arrays into `arrays`."""
    check_is_fitted(estimator)
    parameters = estimator.get_params(deep=False)
    attributes = dict(vars(estimator))  # scikit-learn's of callbacks come and go while another thread fits
    fitted = {
        name: value
        for name, value in attributes.items()
        if name not in parameters and (_FITTED_NAME.fullmatch(name) or name == "_train_state")
    }
    return {
        "class": type(estimator).__name__,
        "parameters": pack_parameters(parameters, arrays, _part_classes(), prefix),
        "fitted": {name: pack(value, f"{prefix}fitted.{name}", arrays) for name, value in fitted.items()},
    }


def _describe_steps(estimator, arrays: Arrays) -> dict[str, Any]:
    """Return the steps of a pipeline, or what is no pipeline as the only step without a name."""
    is_pipeline = isinstance(estimator, Pipeline)
    steps = estimator.steps if is_pipeline else [(None, estimator)]
    described = []
    for index, (name, step) in enumerate(steps):
        if step is None or step == "passthrough":
            described.append({"name": name, "class": "passthrough"})
            continue
        if _classes_of_steps().get(type(step).__name__) is not type(step):
            raise TypeError(
                f"skvardict.save cannot hold {'it' if name is None else f'the step {name!r}'}, a "
                f"{type(step).__module__}.{type(step).__name__}: a file without code names classes of skvardict only "
                f"({', '.join(sorted(_classes_of_steps()))}). Save it with skops: skops.io.dump(pipeline, path), and "
                "skops.io.load(path, trusted=...) after looking at skops.io.get_untrusted_types(file=path)."
            )
        described.append({"name": name, **_describe(step, arrays, f"{index}.")})
    return {"steps": described}


@with_defaults
def load(path: FilePath, **parameters: Any) -> Any:
    """Return what :func:`save` or ``estimator.save(path)`` wrote to `path`. No code from the file is run.

    Parameters
    ----------
    path : path
    **parameters
        Constructor parameters to use instead of those in the file, of the steps of a pipeline as
        ``<step>__<parameter>``. Needed for what a file cannot hold: builders of decoders and encoders, and
        `random_state` where it was a RandomState.

    Returns
    -------
    estimator : fitted estimator, transformer or Pipeline

    Raises
    ------
    FileNotFoundError
    DamagedFileError
        If the file is cut off, altered, or does not hold a consistent model. A ValueError.
    ValueError
        If the file was written by another version in a format that this one does not know, or if a parameter is
        missing that the file cannot hold.

    Warns
    -----
    InconsistentVersionWarning
        If another version of skvardict wrote the file.

    Notes
    -----
    Takes memory of up to three times the size of the file, of a long history up to six times; a hostile file may add
    40 MB, which is what the longest header that is accepted can be made to cost. An estimator that was fitted on a GPU
    loads anywhere; where it asks for a CUDA device that is not there, ``device`` becomes "auto", with a warning.

    Examples
    --------
    >>> import tempfile, os
    >>> import numpy as np
    >>> import skvardict
    >>> X = np.random.default_rng(0).standard_normal((100, 8))
    >>> coder = skvardict.VarianceDictionaryLearning(4, max_iter=2, random_state=0).fit(X)
    >>> path = os.path.join(tempfile.mkdtemp(), "coder.skv")
    >>> coder.save(path)
    >>> bool((skvardict.load(path).transform(X) == coder.transform(X)).all())
    True
    """
    arrays, content = read_file(path)
    content = _check_content(path, content)
    if content["kind"] == "pipeline":
        loaded = _load_steps(path, content["steps"], arrays, parameters)
    else:
        loaded = _load_one(path, content, arrays, parameters, _public_estimators())
    version = content["versions"].get("skvardict")
    if version != __version__:
        warnings.warn(
            FileVersionWarning(
                estimator_name=type(loaded).__name__,
                current_sklearn_version=__version__,
                original_sklearn_version=version,
            ),
            stacklevel=2,
        )
    return loaded


def _load_one(path, entry: Mapping[str, Any], arrays: Arrays, given: Mapping[str, Any], classes: Mapping[str, type]):
    cls = classes.get(entry["class"])
    if cls is None:
        raise DamagedFileError(
            f"{path} holds a {entry['class'][:80]!r}, which this version of skvardict does not have. It has "
            f"{', '.join(sorted(classes))}."
        )
    estimator = _build(path, cls, entry["parameters"], arrays, given)
    _set_fitted(path, estimator, entry["fitted"], arrays)
    return estimator


def _load_steps(path, steps: list, arrays: Arrays, given: Mapping[str, Any]):
    """Return the pipeline of `steps`, or the only one without a name."""
    if not steps:
        raise DamagedFileError(f"{path} does not hold the steps of a pipeline.")
    kinds = {"class": str, "parameters": dict, "fitted": dict}
    alone = len(steps) == 1 and isinstance(steps[0], dict) and steps[0].get("name", "") is None
    loaded: list[tuple[str, Any]] = []
    for step in steps:
        if not isinstance(step, dict) or not (alone or isinstance(step.get("name"), str)):
            raise DamagedFileError(f"{path} does not hold the steps of a pipeline.")
        if step.get("class") == "passthrough" and not alone:
            loaded.append((step["name"], "passthrough"))
            continue
        if not all(isinstance(step.get(key), kind) for key, kind in kinds.items()):
            raise DamagedFileError(f"{path} does not hold the steps of a pipeline.")
        prefix = "" if alone else f"{step['name']}__"
        own = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
        loaded.append((step["name"], _load_one(path, step, arrays, own, _classes_of_steps())))
    if alone:
        return loaded[0][1]
    names = [name for name, _ in loaded]
    unknown = [key for key in given if key.partition("__")[0] not in names or "__" not in key]
    if unknown:
        raise TypeError(f"load: the pipeline has no parameters {', '.join(unknown)[:200]}; its steps are {names}.")
    try:
        pipeline = Pipeline(loaded)
        pipeline._validate_names(names)
    except (ValueError, TypeError) as error:
        raise DamagedFileError(f"{path}: {str(error)[:200]}") from error
    return pipeline


def _check_content(path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict) or content.get("kind") not in ("estimator", "pipeline"):
        kind = content.get("kind") if isinstance(content, dict) else None
        advice = " Pass it to fit(checkpoint=...)." if kind == "checkpoint" else ""
        raise DamagedFileError(f"{path} does not hold an estimator.{advice}")
    kinds: dict[str, type] = {"format": int, "versions": dict}
    kinds |= {"steps": list} if content["kind"] == "pipeline" else {"class": str, "parameters": dict, "fitted": dict}
    versions = content.get("versions")
    version = str(versions.get("skvardict"))[:80] if isinstance(versions, dict) else "unknown"
    number = content.get("format")
    if type(number) is int and number != FORMAT:
        raise ValueError(f"{path} was written by skvardict {version} in format {number}{_about_format(number)}")
    if not all(isinstance(content.get(name), kind) for name, kind in kinds.items()):
        raise DamagedFileError(f"{path} does not hold what the file of an estimator holds.")
    return content


def _about_format(number: int) -> str:
    if number < FORMAT:
        return ", before estimators were assembled from parts. Fit anew, or load it with that version."
    return f", but this is {__version__}, which reads format {FORMAT}. Update skvardict."


def _build(path: FilePath, cls: Any, packed: Mapping[str, Any], arrays: Arrays, given: Mapping[str, Any]):
    """Return an unfitted estimator with the parameters of a file, those of the caller first."""
    known = cls._get_param_names()
    if given.keys() - set(known):
        raise TypeError(f"load: {cls.__name__} has no parameters {', '.join(sorted(given.keys() - set(known)))[:200]}.")
    unknown = sorted(packed.keys() - set(known))
    if unknown:
        raise DamagedFileError(f"{path}: {cls.__name__} has no parameters {', '.join(unknown)[:200]}.")
    try:
        classes = _part_classes()
        parameters = {
            name: unpack_parameter(value, arrays, classes) for name, value in packed.items() if name not in given
        }
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{path}: the parameters are damaged: {str(error)[:1000]}") from error
    missing = {name: value for name, value in parameters.items() if isinstance(value, Omitted)}
    if missing:
        shown = ", ".join(f"{name} ({value.description})" for name, value in missing.items())
        raise ValueError(f"{path} cannot hold {shown}. Pass it: skvardict.load(path, {next(iter(missing))}=...).")
    parameters |= given
    device = parameters.get("device")
    if str(device).startswith("cuda") and "device" not in given and not torch.cuda.is_available():
        warnings.warn(
            f"{path} was fitted with device={str(device)!r}, which is not available here; device='auto' is used.",
            UserWarning,
            stacklevel=3,
        )
        parameters["device"] = "auto"
    estimator = cls(**parameters)
    try:
        with np.printoptions(threshold=8):  # the message shows a value that is refused
            estimator._validate_params()
    except (ValueError, TypeError) as error:
        if any(f"{name!r} parameter" in str(error) for name in given):
            raise
        raise DamagedFileError(f"{path}: {str(error)[:1000]}") from error
    return estimator


def _set_fitted(path, estimator, packed: Mapping[str, Any], arrays: Arrays) -> None:
    cls = type(estimator)
    for name in packed:
        if not (_FITTED_NAME.fullmatch(name) or name == "_train_state") or hasattr(cls, name):
            raise DamagedFileError(f"{path}: {name[:80]!r} is not a fitted attribute of {cls.__name__}.")
    try:
        fitted = {name: unpack(value, arrays) for name, value in packed.items()}
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{path}: the fitted attributes are damaged: {error}") from error
    problem = _find_problem(estimator, fitted) if hasattr(cls, "save") else _find_problem_of_step(fitted)
    if problem is not None:
        raise DamagedFileError(f"{path}: {problem}")
    vars(estimator).update(fitted)


def _find_problem(estimator, fitted: Mapping[str, Any]) -> str | None:
    """Return what is wrong with fitted attributes, or None."""
    if not hasattr(estimator, "_build_model"):  # its parameters are all there is to code with
        return _find_problem_of_features(fitted, _FEATURES) if fitted else None
    problem = _find_problem_of_features(fitted, _REQUIRED)
    if problem is not None:
        return problem
    params, state = fitted["params_"], fitted["_train_state"]
    sketch = _sketch(estimator, fitted["n_features_in_"], len(params))
    if isinstance(sketch, str):
        return sketch
    problem = find_problem_of_weights(params, sketch) or find_problem_of_state(state, fitted["history_"])
    if problem is not None:
        return f"{problem}."
    for name, (shape, _) in sketch.items():
        if f"params.{name}" not in state or state[f"params.{name}"].shape != shape:
            return f"the training state does not fit to {name}."
    return _find_problem_of_counts(fitted, state["counters"].tolist())


def _find_problem_of_counts(fitted: Mapping[str, Any], counters: list[int]) -> str | None:
    """Return which of the numbers that a fit leaves is none that it can leave, or None."""
    n_epochs, n_steps = counters
    for name, value in fitted.items():
        most = {"n_steps_": n_steps, "best_epoch_": n_epochs, "resumed_epoch_": n_epochs}.get(name, 2**32)
        if type(value) is int and not 0 <= value <= most:
            return f"{name[:80]} is {value}."
        if type(value) is float and not np.isfinite(value):
            return f"{name[:80]} is {value}."
    if fitted["n_iter_"] != max(n_epochs, 1):
        return f"n_iter_ is {fitted['n_iter_']}, but the training state is that of {n_epochs} epochs."
    return None


def _find_problem_of_features(fitted: Mapping[str, Any], required: Mapping[str, type]) -> str | None:
    for name, kind in required.items():
        value = fitted.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"{name} is missing or not of type {kind.__name__}."
    if not 1 <= fitted["n_features_in_"] < 2**31:
        return f"n_features_in_ is {fitted['n_features_in_']}."
    names = fitted.get("feature_names_in_")
    if names is not None and not (isinstance(names, np.ndarray) and names.shape == (fitted["n_features_in_"],)):
        return "feature_names_in_ does not have one name per feature."
    return None


def _find_problem_of_step(fitted: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the fitted attributes of a transformer, which are few numbers and names, or None."""
    for name, value in fitted.items():
        items = value if isinstance(value, tuple) else (value,)
        if name == "feature_names_in_":
            if not isinstance(value, np.ndarray) or value.shape != (fitted.get("n_features_in_"),):
                return "feature_names_in_ does not have one name per feature."
        elif not all(type(item) is float and np.isfinite(item) for item in items) and not all(
            type(item) is int and 1 <= item < 2**31 for item in items
        ):
            return f"{name[:80]} holds other things than finite numbers and sizes."
    return None


class _Sketch(TorchFunctionMode):
    """Lets modules be built without memory or random numbers, and stops who builds without end."""

    def __init__(self, most_calls: int):
        super().__init__()
        self.calls_left = most_calls

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ValueError("the model has more parts than the file has arrays")
        kwargs = dict(kwargs or {})
        if str(kwargs.get("device")) == "meta" or any(isinstance(arg, torch.Tensor) and arg.is_meta for arg in args):
            kwargs.pop("generator", None)  # there is nothing to draw
        return function(*args, **kwargs)


def _sketch(estimator, n_features: int, n_arrays: int) -> dict[str, tuple[tuple[int, ...], str]] | str:
    """Return shape and kind ("f"; "i" of a counter) of the weights that `estimator` describes, or why none."""
    try:
        with _Sketch(most_calls=200 + 20 * n_arrays), torch.device("meta"):
            return _weights(estimator, n_features)
    except Exception as error:  # the parameters may be anything that passed their checks
        if not any(_is_builder(value) for value in estimator.get_params(deep=False).values()):
            return f"the parameters describe no model: {type(error).__name__}: {error}"
    return _weights(estimator, n_features)  # a builder that the caller passed may need real numbers


def _is_builder(value: Any) -> bool:
    """Return whether the caller passed `value`: a file holds nothing that can be called but parts, as schedules."""
    return callable(value) and type(value) not in _part_classes().values()


def _weights(estimator, n_features: int) -> dict[str, tuple[tuple[int, ...], str]]:
    model = estimator._build_model(n_features, make_generator(0))
    return {
        f"{part}.{name}": (tuple(tensor.shape), "f" if tensor.is_floating_point() else "i")
        for part, module in model.modules().items()
        for name, tensor in module.state_dict().items()
    }


def _public_estimators() -> dict[str, type]:
    from skvardict import estimators

    public = {name: getattr(estimators, name) for name in estimators.__all__}
    return {name: value for name, value in public.items() if isinstance(value, type) and hasattr(value, "save")}


def _classes_of_steps() -> dict[str, type]:
    """Return what may be a step of a saved pipeline, by name."""
    from skvardict import preprocessing
    from skvardict.estimators import SparseCoder

    public = {name: getattr(preprocessing, name) for name in preprocessing.__all__}
    fitted = {name: value for name, value in public.items() if isinstance(value, type) and hasattr(value, "transform")}
    return {**_public_estimators(), **fitted, "SparseCoder": SparseCoder}


def _part_classes() -> dict[str, type]:
    """Return the classes of the parts that a file can hold, by name: public small estimators, and laws of priors."""
    public = {name: getattr(module, name) for module in (solvers, networks, training) for name in module.__all__}
    parts = {
        name: value for name, value in public.items() if isinstance(value, type) and issubclass(value, BaseEstimator)
    }
    return parts | {law.__name__: law for law in PRIORS.values()}
