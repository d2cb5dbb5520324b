"""The parameters that all estimators have, and how nested ones are set."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch

from skvardict._sklearn import HasMethods, Interval, StrOptions
from skvardict._utils.names import explain_name
from skvardict._utils.parameters import PARTS, RUN, TRAINING, Part, parameter, with_parameters
from skvardict.networks.builders import Builder
from skvardict.solvers import FISTA, ISTA
from skvardict.training import SGD, Adam, EarlyStopping, OnlineUpdate

Decoder = str | Part | Builder
Encoder = str | Part | Builder
Solver = FISTA | ISTA
Optimizer = str | Adam | SGD | OnlineUpdate

OPTIMIZERS = [StrOptions({"auto"}), HasMethods(["start"])]
SOLVERS = [HasMethods(["solve"]), None]


@with_parameters
class CoderParameters:
    """What every estimator is told: the parts it is assembled from, how it is trained, where it runs."""

    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "components_ : ndarray of shape (n_components, n_features)": "Atoms, as rows.",
        "params_ : dict of ndarray": "All weights.",
        "n_iter_, best_epoch_, n_steps_ : int": "Epochs run, epoch of the kept state, optimiser steps.",
        "resumed_epoch_ : int": "Epoch of the checkpoint that the fit went on from; 0 where it did not.",
        "decoder_, encoder_ : Module": "Rebuilt from `params_` on access.",
        "n_features_in_, feature_names_in_": "As in scikit-learn.",
    }

    _OTHER_NAMES: ClassVar[Mapping[str, str]] = {  # of scikit-learn, torch, and of earlier versions
        "dict_init": "init",
        "dictionary": "init",
        "encoder_learning_rate": "optimizer=Adam(encoder_learning_rate=...)",
        "fit_algorithm": "optimizer",
        "hidden_layer_sizes": "decoder=MLP(hidden_layer_sizes=...)",
        "learning_rate": "optimizer=Adam(learning_rate=...)",
        "lr": "optimizer=Adam(learning_rate=...)",
        "max_no_improvement": "early_stopping=EarlyStopping(n_iter_no_change=...)",
        "n_atoms": "n_components",
        "n_epochs": "max_iter",
        "n_iter": "max_iter",
        "n_jobs": "torch.set_num_threads",
        "regularization": "alpha",
        "seed": "random_state",
        "tol": "solver=FISTA(tol=...)",
        "transform_alpha": "alpha",
        "transform_max_iter": "solver=FISTA(max_iter=...)",
        "transform_n_nonzero_coefs": "SparseCoder(..., n_nonzero_coefs=...)",
        "validation_fraction": "early_stopping=EarlyStopping(validation_fraction=...)",
    }

    n_components: int = parameter(
        default=128,
        accepts=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Length l of a code: the number of atoms.",
        kw_only=False,
    )
    decoder: Decoder = parameter(
        default="linear",
        accepts=[StrOptions({"linear", "mlp"}), HasMethods(["build_decoder"]), callable],
        kind='{"linear", "mlp"}, part or callable',
        text='"linear" is a dictionary, "mlp" is ``MLP()``; :class:`skvardict.networks.MLP` and '
        ":class:`~skvardict.networks.Conv` have settings. A callable ``(n_features, n_components) -> Module`` may "
        "build any decoder that works row by row.",
        group=PARTS,
    )
    split_sign: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether `transform` gives the positive and the negative parts of codes side by side, 2 l non-negative "
        "numbers per row: for classifiers that are to tell an atom from its opposite. `inverse_transform` takes such "
        "codes.",
        group=RUN,
    )
    sparse_output: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether codes of arrays are a scipy matrix in CSR format, with the same values.",
        group=RUN,
    )
    solver: Solver | None = parameter(
        default=None,
        accepts=SOLVERS,
        kind="FISTA, ISTA or None",
        text="What finds codes; None is the estimator's own. Pass ``solver=FISTA()`` to search over ``solver__tol``.",
        group=PARTS,
    )
    optimizer: Optimizer = parameter(
        default="auto",
        accepts=OPTIMIZERS,
        kind='"auto", Adam or SGD',
        text="How the weights are trained: learning rates, weight decay and schedules are settings of "
        ':class:`skvardict.training.Adam` and :class:`~skvardict.training.SGD`. "auto": the estimator\'s own.',
        group=TRAINING,
    )
    batch_size: int | str = parameter(
        default=250,
        accepts=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Rows per batch at most.",
        group=TRAINING,
    )
    max_iter: int | str = parameter(
        default=200,
        accepts=[Interval(Integral, 1, None, closed="left")],
        kind="int",
        text="Epochs.",
        group=TRAINING,
    )
    early_stopping: bool | EarlyStopping = parameter(
        default=True,
        accepts=["boolean", EarlyStopping],
        kind="bool or EarlyStopping",
        text="Hold out rows and end the fit when their energy no longer falls; True is ``EarlyStopping()``, whose "
        "settings are the share of the rows, the patience and the tolerance. The best epoch is kept whenever there is "
        "validation data.",
        group=TRAINING,
    )
    warm_start: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Continue the previous `fit` instead of starting anew.",
        group=TRAINING,
    )
    device: str | torch.device = parameter(
        default="auto",
        accepts=[str, torch.device],
        kind='"auto", str or torch.device',
        text="For arrays; a tensor is worked on where it is.",
        group=RUN,
    )
    random_state: int | np.random.RandomState | None = parameter(
        default=None, accepts=["random_state"], kind="int, RandomState or None", text="Source of all draws.", group=RUN
    )
    verbose: int = parameter(
        default=0,
        accepts=["verbose"],
        kind="int",
        text='1 prints a table, a line per epoch, through the logger "skvardict".',
        group=RUN,
    )

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of parts as ``<part>__<parameter>``; see scikit-learn.

        Parameters
        ----------
        **params
            Values by name.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If there is no such parameter, or the part is given by a name, which has no settings.
        """
        for key in params:
            name, _, setting = key.partition("__")
            if name in self._OTHER_NAMES and not hasattr(self, name):
                raise ValueError(explain_name(type(self).__name__, name, (), self._OTHER_NAMES))
            value = params.get(name, getattr(self, name, None))
            if setting and name in self.get_params(deep=False) and not hasattr(value, "set_params"):  # type: ignore[attr-defined]
                raise ValueError(
                    f"{type(self).__name__}: {key} is a setting of a part, but {name}={value!r} has none. "
                    f"{self._advise_part(name)}"
                )
        return super().set_params(**params)  # type: ignore[misc]

    def _advise_part(self, name: str) -> str:
        example = {
            "decoder": "decoder=MLP()",
            "encoder": "encoder=LISTA() or encoder=MLP()",
            "optimizer": "optimizer=Adam()",
            "early_stopping": "early_stopping=EarlyStopping()",
            "solver": "solver=FISTA()",
        }.get(name, f"an object as {name}=")
        return f"Pass {example} first, and search over its settings."
