"""Dictionary learning with iterative inference and an amortised encoder."""

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_array
from torch import Tensor

from skvardict._sklearn import HasMethods, Interval, StrOptions
from skvardict.energies import Penalties
from skvardict.estimators._base import BaseCoder
from skvardict.models import DictionaryModel
from skvardict.networks import LinearDecoder, build_decoder, build_encoder
from skvardict.objectives import DictionaryObjective
from skvardict.rows import Rows
from skvardict.solvers import FISTA

_GAMMA_LINEAR, _GAMMA_OTHER = 5.0, 100.0  # Table 3 of Evtimova & LeCun: MNIST, VDL and VDL-NL


class _DictionaryCoder(BaseCoder):
    """Parts and codes of a dictionary model; a subclass adds what keeps its decoder from growing, and the defaults."""

    # What a model does without has its neutral value.
    beta: float = 0.0
    std_threshold: float = 0.5
    atom_norm: float | None = None
    weight_decay: float = 0.0

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "gamma": [Interval(Real, 0, None, closed="left")],
        "decoder": [StrOptions({"linear", "mlp"}), callable],
        "hidden_layer_sizes": ["array-like"],
        "encoder": [StrOptions({"lista"}), callable, None],
        "encoder_n_iter": [Interval(Integral, 0, None, closed="left")],
        "positive_code": ["boolean"],
        "solver": [HasMethods(["solve"]), None],
        "transform_algorithm": [StrOptions({"auto", "encoder", "solver"})],
        "init": [StrOptions({"random", "data"}), "array-like"],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "encoder_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "bias_decay": [Interval(Real, 0, None, closed="left")],
        "encoder_bias_decay": [Interval(Real, 0, None, closed="left")],
        "learning_rate_decay": [tuple, None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components,
        *,
        alpha,
        gamma,
        decoder,
        hidden_layer_sizes,
        encoder,
        encoder_n_iter,
        positive_code,
        solver,
        transform_algorithm,
        init,
        optimizer,
        learning_rate,
        encoder_learning_rate,
        bias_decay,
        encoder_bias_decay,
        learning_rate_decay,
        batch_size,
        max_iter,
        early_stopping,
        validation_fraction,
        n_iter_no_change,
        tol,
        warm_start,
        device,
        random_state,
        verbose,
    ):
        self.n_components = n_components
        self.alpha = alpha
        self.gamma = gamma
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.encoder = encoder
        self.encoder_n_iter = encoder_n_iter
        self.positive_code = positive_code
        self.solver = solver
        self.transform_algorithm = transform_algorithm
        self.init = init
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.encoder_learning_rate = encoder_learning_rate
        self.bias_decay = bias_decay
        self.encoder_bias_decay = encoder_bias_decay
        self.learning_rate_decay = learning_rate_decay
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def energy(self, X) -> dict[str, float]:
        """Return the mean energy per row of the codes of `X`, by term (unweighted) and in all.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        energies : dict
            "reconstruction", "l1", "coupling" (0 without an encoder) and "total", weighted by alpha and gamma.
            The hinge belongs to batches of `fit` and is not part of it.
        """
        rows = self._rows(X)
        codes = torch.as_tensor(self._encode(rows).codes)
        model = self._model(codes.device, codes.dtype)
        sums = {"reconstruction": 0.0, "l1": 0.0, "coupling": 0.0}
        with torch.no_grad():
            for where, block in rows.to(codes.device).slices():
                for name, values in model.energy_terms(block, codes[where]).items():
                    sums[name] += float(values.sum())
        means = {name: value / len(codes) for name, value in sums.items()}
        total = means["reconstruction"] + self.alpha * means["l1"] + self._gamma() * means["coupling"]
        return {**means, "total": total}

    def _gamma(self) -> float:
        return self.gamma

    def _build_model(self, n_features: int, generator: torch.Generator) -> DictionaryModel:
        if self.transform_algorithm == "encoder" and self.encoder is None:
            raise ValueError(
                "transform_algorithm='encoder' needs an encoder, but encoder=None. "
                "Use encoder='lista', or transform_algorithm='solver'."
            )
        if self.beta > 0 and self.batch_size < 2:
            raise ValueError(
                f"{type(self).__name__}: beta={self.beta} holds standard deviations over a batch, but batch_size="
                f"{self.batch_size}. Use batches of at least 2 rows, or beta=0."
            )
        decoder = build_decoder(
            self.decoder,
            n_features,
            self.n_components,
            hidden_layer_sizes=self.hidden_layer_sizes,
            generator=generator,
        )
        self._check_atom_norm(decoder)
        return DictionaryModel(
            decoder=decoder,
            encoder=build_encoder(
                self.encoder,
                n_features,
                self.n_components,
                n_iter=self.encoder_n_iter,
                positive=self.positive_code,
                generator=generator,
            ),
            n_components=self.n_components,
            solver=FISTA() if self.solver is None else self.solver,
            penalties=Penalties(self.alpha, self.positive_code, self.beta, self.std_threshold, self._gamma()),
        )

    def _build_objective(self, model: DictionaryModel, batch_rows: float) -> DictionaryObjective:
        return DictionaryObjective(
            model=model,
            batch_rows=batch_rows,
            atom_norm=self.atom_norm,
            learning_rate=self.learning_rate,
            encoder_learning_rate=self.encoder_learning_rate,
            weight_decay=self.weight_decay,
            bias_decay=self.bias_decay,
            encoder_bias_decay=self.encoder_bias_decay,
            optimizer=self.optimizer,
        )

    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if model.encoder is not None and self.transform_algorithm != "solver":
            return model.encoder(X), None, None
        result = model.infer(X)
        return result.codes, result.n_iter, result.converged

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        if isinstance(self.init, str) and self.init == "random":
            return
        if not isinstance(model.decoder, LinearDecoder):
            raise ValueError(
                f"{type(self).__name__}: init= gives the atoms of a linear dictionary, but decoder={self.decoder!r}. "
                "Use init='random', or a builder that sets its own weights."
            )
        components = model.decoder.components
        atoms = (
            self._draw_atoms(rows, components, generator)
            if isinstance(self.init, str)
            else check_array(self.init, dtype=np.float64, order="C", copy=True, input_name="init")
        )
        if tuple(atoms.shape) != tuple(components.shape):
            raise ValueError(
                f"{type(self).__name__}: init has shape {tuple(atoms.shape)}, but n_components={self.n_components} "
                f"atoms of {components.shape[1]} features are rows of an array {tuple(components.shape)}."
            )
        with torch.no_grad():
            components.copy_(torch.as_tensor(atoms))

    def _draw_atoms(self, rows: Rows, components: Tensor, generator: torch.Generator) -> Tensor:
        """Return distinct rows, each scaled to the norm of the random atom it replaces; zero rows replace none."""
        if len(rows) < self.n_components:
            raise ValueError(
                f"{type(self).__name__}: init='data' takes {self.n_components} distinct rows as atoms, but there are "
                f"only {len(rows)}. Lower n_components or use init='random'."
            )
        chosen = torch.randperm(len(rows), generator=generator)[: self.n_components]
        drawn = rows.take(chosen.sort().values)
        norms = torch.linalg.vector_norm(drawn, dim=1, keepdim=True)
        scale = torch.linalg.vector_norm(components.detach(), dim=1, keepdim=True)
        return torch.where(norms > 0, drawn / norms * scale, components.detach())


class VarianceDictionaryLearning(_DictionaryCoder):
    """Sparse coding whose energy keeps the standard deviation of every code component above a floor.

    Codes of a batch minimise::

        sum_i 1/d |x_i - D(z_i)|^2 + beta sum_j [(T - s_j)_+]^2 + gamma sum_i 1/l |z_i - E(x_i)|^2 + alpha sum_i |z_i|_1

    over ``z >= 0``, where ``s_j`` is the standard deviation of component j over the batch. The hinge (weight
    `beta`, floor T = `std_threshold`) keeps codes from shrinking while the decoder grows, so that a linear
    dictionary or a multi-layer decoder D needs no constraint on its norm. The LISTA encoder E learns to
    predict the codes and gives them in one pass afterwards.

    Parameters
    ----------
    n_components : int, default=128
        Length l of a code: the number of atoms.
    alpha : float, default=0.005
        Weight of the L1 norm; larger gives sparser codes. In the units of the paper's Table 3: see
        :func:`skvardict.energies.to_sklearn_alpha`.
    beta : float, default=10.0
        Weight of the variance hinge; 0 leaves the model without protection against collapse.
    gamma : float or "auto", default="auto"
        Weight of the coupling of codes to the encoder's prediction; "auto" is 5 for a linear decoder, else 100.
    std_threshold : float, default=0.5
        Floor T: a pull on the standard deviations, not a constraint.
    decoder : {"linear", "mlp"} or callable, default="linear"
        "mlp" has ReLU layers of `hidden_layer_sizes`; a callable ``(n_features, n_components) -> Module`` may
        build any decoder that works row by row.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Hidden layers of ``decoder="mlp"``, from the code outwards.
    encoder : "lista", None or callable, default="lista"
        None: codes come from the solver, started at zero.
    encoder_n_iter : int, default=3
        Recurrent steps of the LISTA encoder.
    positive_code : bool, default=True
        Whether codes are non-negative; an encoder of your own has to see to it itself.
    solver : FISTA, ISTA or None, default=None
        None is ``FISTA(max_iter=200, tol=1e-3, step_size="auto")``; pass ``solver=FISTA()`` to search over
        ``solver__tol``.
    transform_algorithm : {"auto", "encoder", "solver"}, default="auto"
        How `transform` computes codes; "auto" takes the encoder where there is one. "solver" minimises the
        energy without the hinge, row by row.
    init : {"random", "data"} or array-like of shape (n_components, n_features), default="random"
        First atoms of a linear decoder: uniform; distinct rows of `X`, scaled to the norm of the uniform ones; or
        those given.
    optimizer : {"adam", "sgd"}, default="adam"
    learning_rate, encoder_learning_rate : float, default=3e-4, 1e-4
        The optimiser's rates for decoder and encoder.
    bias_decay, encoder_bias_decay : float, default=0.0
        Weight decay of the biases inside the decoder and of the encoder's.
    learning_rate_decay : tuple (factor, n_epochs) or None, default=None
        Multiply the decoder's rate by `factor` every `n_epochs` epochs.
    batch_size : int, default=250
        Rows per batch at most. The hinge belongs to a batch: its weight per row goes as 1 / `batch_size`.
    max_iter : int, default=200
        Epochs.
    early_stopping : bool, default=True
        Hold out `validation_fraction` of the rows and stop after `n_iter_no_change` epochs without a relative
        improvement of `tol` in the validation energy. The best epoch is kept whenever there is validation data.
    validation_fraction : float, default=0.1
        No rows are held out where this is fewer than 20.
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
    warm_start : bool, default=False
        Continue the previous `fit` instead of starting anew.
    device : "auto", str or torch.device, default="auto"
        For arrays; a tensor is worked on where it is.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0
        1 prints a line per epoch.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms, as rows.
    params_ : dict of ndarray
        All weights.
    history_ : dict of list
        One entry per epoch: energies per row by term, R^2, PSNR for a data range of 1 in the units of X (add
        ``20 log10(range)``), sparsity, mean L1, dead components, mean component deviation, solver iterations,
        seconds. Names that begin with ``validation_`` belong to codes of the encoder, of the solver if there is none.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components never active in the last epoch.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022,
    eq. 5-8 and Table 3.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = VarianceDictionaryLearning(n_components=32, max_iter=5, random_state=0).fit(X)
    >>> coder.transform(X[:10]).shape
    (10, 32)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_DictionaryCoder._parameter_constraints,
        "beta": [Interval(Real, 0, None, closed="left")],
        "gamma": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "std_threshold": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components=128,
        *,
        alpha=0.005,
        beta=10.0,
        gamma="auto",
        std_threshold=0.5,
        decoder="linear",
        hidden_layer_sizes=(1024,),
        encoder="lista",
        encoder_n_iter=3,
        positive_code=True,
        solver=None,
        transform_algorithm="auto",
        init="random",
        optimizer="adam",
        learning_rate=3e-4,
        encoder_learning_rate=1e-4,
        bias_decay=0.0,
        encoder_bias_decay=0.0,
        learning_rate_decay=None,
        batch_size=250,
        max_iter=200,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            n_components,
            alpha=alpha,
            gamma=gamma,
            decoder=decoder,
            hidden_layer_sizes=hidden_layer_sizes,
            encoder=encoder,
            encoder_n_iter=encoder_n_iter,
            positive_code=positive_code,
            solver=solver,
            transform_algorithm=transform_algorithm,
            init=init,
            optimizer=optimizer,
            learning_rate=learning_rate,
            encoder_learning_rate=encoder_learning_rate,
            bias_decay=bias_decay,
            encoder_bias_decay=encoder_bias_decay,
            learning_rate_decay=learning_rate_decay,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.beta = beta
        self.std_threshold = std_threshold

    def _gamma(self) -> float:
        if self.gamma == "auto":
            return _GAMMA_LINEAR if self.decoder == "linear" else _GAMMA_OTHER
        return self.gamma


class StandardDictionaryLearning(_DictionaryCoder):
    """Sparse coding with atoms of fixed norm, and an encoder that learns to predict the codes.

    Codes of a row minimise::

        1/d |x - D(z)|^2 + gamma 1/l |z - E(x)|^2 + alpha |z|_1

    over ``z >= 0``. After every step the rows of every matrix of the decoder D are set to the norm `atom_norm`, or
    codes would shrink while atoms grow. This is the paper's baseline SDL; ``decoder="mlp"`` is SDL-NL, and without
    an encoder (``encoder=None``) the models are its DO and DO-NL, whose codes come from the solver.


    Parameters
    ----------
    n_components : int, default=128
        Length l of a code: the number of atoms.
    alpha : float, default=0.005
        Weight of the L1 norm; larger gives sparser codes. In the units of the paper's Table 3: see
        :func:`skvardict.energies.to_sklearn_alpha`.
    gamma : float, default=1.0
        Weight of the coupling of codes to the encoder's prediction; without an encoder there is none.
    atom_norm : float or None, default=1.0
        Norm of every atom, and of every row of each matrix of a multi-layer decoder. None leaves the model without
        protection against collapse.
    decoder : {"linear", "mlp"} or callable, default="linear"
        "mlp" has ReLU layers of `hidden_layer_sizes`; a callable ``(n_features, n_components) -> Module`` may
        build any decoder that works row by row.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Hidden layers of ``decoder="mlp"``, from the code outwards.
    encoder : "lista", None or callable, default="lista"
        None: codes come from the solver, started at zero.
    encoder_n_iter : int, default=3
        Recurrent steps of the LISTA encoder.
    positive_code : bool, default=True
        Whether codes are non-negative; an encoder of your own has to see to it itself.
    solver : FISTA, ISTA or None, default=None
        None is ``FISTA(max_iter=200, tol=1e-3, step_size="auto")``; pass ``solver=FISTA()`` to search over
        ``solver__tol``.
    transform_algorithm : {"auto", "encoder", "solver"}, default="auto"
        How `transform` computes codes; "auto" takes the encoder where there is one. "solver" minimises the
        energy without the hinge, row by row.
    init : {"random", "data"} or array-like of shape (n_components, n_features), default="random"
        First atoms of a linear decoder: uniform; distinct rows of `X`, scaled to the norm of the uniform ones; or
        those given.
    optimizer : {"adam", "sgd"}, default="adam"
    learning_rate, encoder_learning_rate : float, default=1e-3, 3e-4
        The optimiser's rates for decoder and encoder.
    bias_decay, encoder_bias_decay : float, default=0.0
        Weight decay of the biases inside the decoder and of the encoder's.
    learning_rate_decay : tuple (factor, n_epochs) or None, default=None
        Multiply the decoder's rate by `factor` every `n_epochs` epochs.
    batch_size : int, default=250
        Rows per batch at most.
    max_iter : int, default=200
        Epochs.
    early_stopping : bool, default=True
        Hold out `validation_fraction` of the rows and stop after `n_iter_no_change` epochs without a relative
        improvement of `tol` in the validation energy. The best epoch is kept whenever there is validation data.
    validation_fraction : float, default=0.1
        No rows are held out where this is fewer than 20.
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
    warm_start : bool, default=False
        Continue the previous `fit` instead of starting anew.
    device : "auto", str or torch.device, default="auto"
        For arrays; a tensor is worked on where it is.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0
        1 prints a line per epoch.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms, as rows.
    params_ : dict of ndarray
        All weights.
    history_ : dict of list
        One entry per epoch: energies per row by term, R^2, PSNR for a data range of 1 in the units of X (add
        ``20 log10(range)``), sparsity, mean L1, dead components, mean component deviation, solver iterations,
        seconds. Names that begin with ``validation_`` belong to codes of the encoder, of the solver if there is none.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components never active in the last epoch.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022,
    section 4 and Table 3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import StandardDictionaryLearning
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = StandardDictionaryLearning(n_components=32, max_iter=5, random_state=0).fit(X)
    >>> np.allclose(np.linalg.norm(coder.components_, axis=1), 1)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_DictionaryCoder._parameter_constraints,
        "atom_norm": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(
        self,
        n_components=128,
        *,
        alpha=0.005,
        gamma=1.0,
        atom_norm=1.0,
        decoder="linear",
        hidden_layer_sizes=(1024,),
        encoder="lista",
        encoder_n_iter=3,
        positive_code=True,
        solver=None,
        transform_algorithm="auto",
        init="random",
        optimizer="adam",
        learning_rate=1e-3,
        encoder_learning_rate=3e-4,
        bias_decay=0.0,
        encoder_bias_decay=0.0,
        learning_rate_decay=None,
        batch_size=250,
        max_iter=200,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            n_components,
            alpha=alpha,
            gamma=gamma,
            decoder=decoder,
            hidden_layer_sizes=hidden_layer_sizes,
            encoder=encoder,
            encoder_n_iter=encoder_n_iter,
            positive_code=positive_code,
            solver=solver,
            transform_algorithm=transform_algorithm,
            init=init,
            optimizer=optimizer,
            learning_rate=learning_rate,
            encoder_learning_rate=encoder_learning_rate,
            bias_decay=bias_decay,
            encoder_bias_decay=encoder_bias_decay,
            learning_rate_decay=learning_rate_decay,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.atom_norm = atom_norm


class WeightDecayDictionaryLearning(_DictionaryCoder):
    """Sparse coding with weight decay on the decoder, and an encoder that learns to predict the codes.

    Codes of a row minimise::

        1/d |x - D(z)|^2 + gamma 1/l |z - E(x)|^2 + alpha |z|_1

    over ``z >= 0``; the decoder's weights decay instead of having a fixed norm. This is the paper's baseline WDL;
    ``decoder="mlp"`` is WDL-NL.

    With ``encoder=None, positive_code=False, optimizer="sgd"`` it is classical sparse coding by gradient steps
    ``A += eta (mean(r z) - 2 kappa A)`` on the dictionary, r being the residual: in the units of that formula,
    ``learning_rate = eta d / 2`` and ``weight_decay = 4 kappa / d``.


    Parameters
    ----------
    n_components : int, default=128
        Length l of a code: the number of atoms.
    alpha : float, default=0.005
        Weight of the L1 norm; larger gives sparser codes. In the units of the paper's Table 3: see
        :func:`skvardict.energies.to_sklearn_alpha`.
    gamma : float, default=1.0
        Weight of the coupling of codes to the encoder's prediction; without an encoder there is none.
    weight_decay : float, default=1e-4
        Coefficient w of the decay of the decoder's weights: the optimiser adds ``w W`` to the gradient of the mean
        squared error, as if ``w / 2 |W|^2`` were part of the loss. The paper's value is not known; choose it by the
        regret curve.
    decoder : {"linear", "mlp"} or callable, default="linear"
        "mlp" has ReLU layers of `hidden_layer_sizes`; a callable ``(n_features, n_components) -> Module`` may
        build any decoder that works row by row.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Hidden layers of ``decoder="mlp"``, from the code outwards.
    encoder : "lista", None or callable, default="lista"
        None: codes come from the solver, started at zero.
    encoder_n_iter : int, default=3
        Recurrent steps of the LISTA encoder.
    positive_code : bool, default=True
        Whether codes are non-negative; an encoder of your own has to see to it itself.
    solver : FISTA, ISTA or None, default=None
        None is ``FISTA(max_iter=200, tol=1e-3, step_size="auto")``; pass ``solver=FISTA()`` to search over
        ``solver__tol``.
    transform_algorithm : {"auto", "encoder", "solver"}, default="auto"
        How `transform` computes codes; "auto" takes the encoder where there is one. "solver" minimises the
        energy without the hinge, row by row.
    init : {"random", "data"} or array-like of shape (n_components, n_features), default="random"
        First atoms of a linear decoder: uniform; distinct rows of `X`, scaled to the norm of the uniform ones; or
        those given.
    optimizer : {"adam", "sgd"}, default="adam"
    learning_rate, encoder_learning_rate : float, default=1e-3, 3e-4
        The optimiser's rates for decoder and encoder.
    bias_decay, encoder_bias_decay : float, default=0.0
        Weight decay of the biases inside the decoder and of the encoder's.
    learning_rate_decay : tuple (factor, n_epochs) or None, default=None
        Multiply the decoder's rate by `factor` every `n_epochs` epochs.
    batch_size : int, default=250
        Rows per batch at most.
    max_iter : int, default=200
        Epochs.
    early_stopping : bool, default=True
        Hold out `validation_fraction` of the rows and stop after `n_iter_no_change` epochs without a relative
        improvement of `tol` in the validation energy. The best epoch is kept whenever there is validation data.
    validation_fraction : float, default=0.1
        No rows are held out where this is fewer than 20.
    n_iter_no_change : int, default=10
    tol : float, default=1e-4
    warm_start : bool, default=False
        Continue the previous `fit` instead of starting anew.
    device : "auto", str or torch.device, default="auto"
        For arrays; a tensor is worked on where it is.
    random_state : int, RandomState or None, default=None
    verbose : int, default=0
        1 prints a line per epoch.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features)
        Atoms, as rows.
    params_ : dict of ndarray
        All weights.
    history_ : dict of list
        One entry per epoch: energies per row by term, R^2, PSNR for a data range of 1 in the units of X (add
        ``20 log10(range)``), sparsity, mean L1, dead components, mean component deviation, solver iterations,
        seconds. Names that begin with ``validation_`` belong to codes of the encoder, of the solver if there is none.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components never active in the last epoch.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022,
    section 4.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import WeightDecayDictionaryLearning
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = WeightDecayDictionaryLearning(n_components=32, max_iter=5, random_state=0).fit(X)
    >>> coder.transform(X[:10]).shape
    (10, 32)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_DictionaryCoder._parameter_constraints,
        "weight_decay": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        n_components=128,
        *,
        alpha=0.005,
        gamma=1.0,
        weight_decay=1e-4,
        decoder="linear",
        hidden_layer_sizes=(1024,),
        encoder="lista",
        encoder_n_iter=3,
        positive_code=True,
        solver=None,
        transform_algorithm="auto",
        init="random",
        optimizer="adam",
        learning_rate=1e-3,
        encoder_learning_rate=3e-4,
        bias_decay=0.0,
        encoder_bias_decay=0.0,
        learning_rate_decay=None,
        batch_size=250,
        max_iter=200,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            n_components,
            alpha=alpha,
            gamma=gamma,
            decoder=decoder,
            hidden_layer_sizes=hidden_layer_sizes,
            encoder=encoder,
            encoder_n_iter=encoder_n_iter,
            positive_code=positive_code,
            solver=solver,
            transform_algorithm=transform_algorithm,
            init=init,
            optimizer=optimizer,
            learning_rate=learning_rate,
            encoder_learning_rate=encoder_learning_rate,
            bias_decay=bias_decay,
            encoder_bias_decay=encoder_bias_decay,
            learning_rate_decay=learning_rate_decay,
            batch_size=batch_size,
            max_iter=max_iter,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            warm_start=warm_start,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.weight_decay = weight_decay
