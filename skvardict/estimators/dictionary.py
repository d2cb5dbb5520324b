"""Dictionary learning with iterative inference and an amortised encoder."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import HasMethods, Interval, StrOptions
from skvardict._utils.parameters import PARTS, TRAINING, parameter, with_parameters
from skvardict._utils.state import of_one_model
from skvardict._utils.types import ArrayLike
from skvardict.energies import L1, VarianceHinge
from skvardict.estimators._fields import OPTIMIZERS, SOLVERS, Encoder, Optimizer, Solver
from skvardict.estimators._looks import look_at_codes
from skvardict.estimators._messages import Watch
from skvardict.estimators._missing import MissingEntries
from skvardict.functional import row_norms
from skvardict.models import DictionaryModel, MaskedDictionaryModel, TunedWeight
from skvardict.networks import CODE_ENCODERS, LinearDecoder, LISTAEncoder, build_code_encoder, build_decoder
from skvardict.objectives import Annealing, DictionaryObjective, MaskedDictionaryObjective, Replacement
from skvardict.rows import ROWS_PER_CHUNK, Rows, check_matrix, to_array
from skvardict.solvers import ADMM, FISTA
from skvardict.training import (
    Adam,
    CosineRate,
    EarlyStopping,
    OnlineUpdate,
    Outcome,
    TargetSparsity,
    TrainingPlan,
    TrainingSession,
)
from skvardict.training.health import FEWEST_EPOCHS_OF_ENCODER
from skvardict.training.history import last_count

_ALPHA = 0.005
_TRAINING_ITERATIONS = 4  # of FISTA a batch in an automatic fit: from the encoder's prediction the rest changes little
_RATES_OF_OTHERS = 0.2, 0.065  # of decoders with hidden layers, and encoders beside them
_FEW_STEPS = 500  # for which the encoder's rate is given
_MANY_ROWS = 2500  # from here on epochs count, below steps
_FEW_WEIGHTS = 64 * 64  # of a dictionary that is trained longer, since it costs little
_GAMMA_LINEAR, _GAMMA_OTHER = 5.0, 100.0  # Table 3 of Evtimova & LeCun: MNIST, VDL and VDL-NL


@with_parameters
class _DictionaryCoder(MissingEntries):
    """Parts and codes of a dictionary model; a subclass adds what keeps its decoder from growing, and the defaults."""

    # Of the automatic fit: rates of decoder and encoder relative to their weights, and how a linear decoder begins.
    _RATES: ClassVar[tuple[float, float]] = (0.12, 0.045)
    _FIRST_ATOMS: ClassVar[str] = "data"
    _ANNEALS: ClassVar[bool] = False
    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "history_ : dict of list": "One entry per epoch: energies per row by term, R^2, PSNR for a data range of 1 in "
        "the units of X (add ``20 log10(range)``), sparsity, mean L1, dead components, mean component deviation, "
        "solver iterations, seconds, and where the fit replaces them, atoms that no code used (`n_replaced`). Names "
        "that begin with ``validation_`` belong to codes of the encoder, of the "
        "solver if there is none.",
        "alpha_ : float": "Weight of the L1 norm that the model was fitted with.",
        "n_dead_, n_dead_encoder_ : int": "Components never active in the last epoch: in the codes that the model is "
        "trained on, and in those of the encoder, which `transform` returns; the latter only where there is one.",
    }

    alpha: float | str | TargetSparsity = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), Interval(Real, 0, None, closed="left"), TargetSparsity],
        kind='float, "auto" or TargetSparsity',
        text="Weight of the L1 norm; larger gives sparser codes. In the units of the paper's Table 3: see "
        ':func:`skvardict.energies.to_sklearn_alpha`. "auto" is 0.005, and less for rows of fewer than 64 features: '
        "``0.005 min(1, d / 64)``. ``TargetSparsity(0.9)`` looks for the weight at which nine tenths of the codes are "
        "zero. The weight that was used is `alpha_`.",
    )
    gamma: float | str = parameter(
        default=1.0,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Weight of the coupling of codes to the encoder's prediction; without an encoder there is none.",
    )
    encoder: Encoder | None = parameter(
        default="lista",
        accepts=[StrOptions(set(CODE_ENCODERS)), HasMethods(["build_code_encoder"]), callable, None],
        kind='{"lista", "mlp", "residual_mlp", "resnet"}, part, callable or None',
        text='"lista" is ``LISTA()``; :class:`skvardict.networks.LISTA`, :class:`~skvardict.networks.MLP`, '
        ":class:`~skvardict.networks.ResidualMLP`, :class:`~skvardict.networks.ResNet` and "
        ":class:`~skvardict.networks.Conv` have settings. A callable "
        "``(n_features, n_components) -> Module`` may build any encoder. None: codes come from the solver, started at "
        "zero.",
        group=PARTS,
    )
    positive_code: bool = parameter(
        default=True,
        accepts=["boolean"],
        kind="bool",
        text="Whether codes are non-negative; an encoder that a callable builds has to see to it itself.",
    )
    positive_dict: bool = parameter(
        default=False,
        accepts=["boolean"],
        kind="bool",
        text="Whether atoms are non-negative, as parts that add up are: with non-negative codes a sparse non-negative "
        "matrix factorisation. Needs a linear decoder, and rows that are not centred.",
    )
    solver: Solver | None = parameter(
        default=None,
        accepts=SOLVERS,
        kind="FISTA, ISTA or None",
        text='What infers codes. None is ``FISTA(max_iter=200, tol=1e-3, step_size="auto")``; pass ``solver=FISTA()`` '
        "to search over ``solver__tol``.",
        group=PARTS,
    )
    transform_algorithm: str = parameter(
        default="auto",
        accepts=[StrOptions({"auto", "encoder", "solver"})],
        kind='{"auto", "encoder", "solver"}',
        text='How `transform` computes codes; "auto" takes the encoder where there is one. "solver" minimises the '
        "energy without the hinge, row by row.",
        group=PARTS,
    )
    init: Any = parameter(
        default="auto",
        accepts=[StrOptions({"auto", "random", "data"}), "array-like"],
        kind='{"auto", "random", "data"} or array-like of shape (n_components, n_features)',
        text="First atoms of a linear decoder: uniform; distinct centred rows of `X`, scaled to the norm of the "
        'uniform ones; or those given. "auto": rows where atoms have a norm or there is no encoder, else uniform in '
        "the scale of the rows.",
        group=TRAINING,
    )
    missing: str = parameter(
        default="error",
        accepts=[StrOptions({"error", "mask"})],
        kind='{"error", "mask"}',
        text='What NaN in `X` means. "error" refuses it. "mask": the entry is missing; reconstruction errors are means '
        "over the observed entries of a row, in `fit`, `transform` and `score`, and `reconstruct` fills in the others. "
        "An encoder reads zeros there. Needs a linear decoder.",
        group=TRAINING,
    )
    optimizer: Optimizer = parameter(
        default="auto",
        accepts=OPTIMIZERS,
        kind='"auto", Adam, SGD or OnlineUpdate',
        text='How the weights are trained. "auto" takes what gives good codes soonest: for a linear decoder without '
        "encoder :class:`skvardict.training.OnlineUpdate`, else :class:`~skvardict.training.Adam` with large rates "
        "that rise and fall once, few inference steps a batch, and an encoder that follows the atoms. The papers' "
        "training is in :mod:`skvardict.recipes`.",
        group=TRAINING,
    )
    batch_size: int | str = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        kind='int or "auto"',
        text='Rows per batch at most; "auto": up to 200 (online: 512), fewer for small data.',
        group=TRAINING,
    )
    max_iter: int | str = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        kind='int or "auto"',
        text='Epochs; "auto": at least 10 (online: 15), and as many as make 700 steps (1,200 of a small dictionary, '
        "400 online).",
        group=TRAINING,
    )
    early_stopping: bool | EarlyStopping = False

    @of_one_model
    def energy(self, X: ArrayLike) -> dict[str, float]:
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
        codes = torch.as_tensor(self._encode(rows)[0])
        model = self._model(codes.device, codes.dtype)
        sums = dict.fromkeys(("reconstruction", model.penalty.name, "coupling"), 0.0)
        with torch.no_grad():
            for where, block in rows.to(codes.device).slices():
                for name, values in model.energy_terms(block, codes[where]).items():
                    sums[name] += float(values.sum())
        means = {name: value / len(codes) for name, value in sums.items()}
        return {**means, "total": model.energy(means)}

    # Models without a term have no such parameter.

    def _hinge(self) -> tuple[float, float]:
        """Return weight and floor of the variance hinge."""
        return getattr(self, "beta", 0.0), getattr(self, "std_threshold", 0.5)

    def _gamma(self) -> float:
        return float(self.gamma)

    def _build_model(self, n_features: int, generator: torch.Generator) -> DictionaryModel:
        if self.transform_algorithm == "encoder" and self.encoder is None:
            raise ValueError(
                "transform_algorithm='encoder' needs an encoder, but encoder=None. "
                "Use encoder='lista', or transform_algorithm='solver'."
            )
        decoder = build_decoder(
            self.decoder,
            n_features,
            self.n_components,
            generator=generator,
        )
        self._check_atom_norm(decoder)
        if self.positive_dict and not isinstance(decoder, LinearDecoder):
            raise ValueError(
                f"{type(self).__name__}: positive_dict=True needs a linear decoder, but decoder={self.decoder!r}. Use "
                "decoder='linear', or positive_dict=False."
            )
        if self._allows_missing and not isinstance(decoder, LinearDecoder):
            raise ValueError(
                f"{type(self).__name__}: missing='mask' needs a linear decoder, but decoder={self.decoder!r}. Use "
                "decoder='linear', or impute X first."
            )
        kind = MaskedDictionaryModel if self._allows_missing else DictionaryModel
        return kind(
            decoder=decoder,
            encoder=build_code_encoder(
                self.encoder,
                n_features,
                self.n_components,
                positive=self.positive_code,
                generator=generator,
            ),
            n_components=self.n_components,
            solver=FISTA() if self.solver is None else self.solver,
            penalty=L1(self._alpha(n_features), self.positive_code),
            hinge=VarianceHinge(*self._hinge()),
            gamma=self._gamma(),
            tuned=TunedWeight(self._alpha(n_features)) if self._target() else None,
        )

    def _build_objective(self, model: DictionaryModel, batch_rows: float, plan: TrainingPlan) -> DictionaryObjective:
        beta, _ = self._hinge()
        if beta > 0 and plan.batch_size < 2:
            raise ValueError(
                f"{type(self).__name__}: beta={beta} holds standard deviations over a batch, but batch_size="
                f"{plan.batch_size}. Use batches of at least 2 rows, or beta=0."
            )
        target = self._target()
        if target is not None:
            target.check()
        is_fast = self._is_automatic() or self._is_online()
        fast = {"solver": self._training_solver(model), "tracks": _can_track(model)} if is_fast else {}
        anneals = (
            self._is_automatic()
            and self._ANNEALS
            and self._is_linear()
            and target is None
            and plan.schedule_epochs is None
        )
        # Calls of partial_fit have no end towards which atoms could be left alone.
        replaces = self._is_automatic() and _can_track(model) and not self._is_online() and plan.schedule_epochs is None
        kind = MaskedDictionaryObjective if self._allows_missing else DictionaryObjective
        return kind(
            model=model,
            batch_rows=batch_rows,
            atom_norm=getattr(self, "atom_norm", None),
            weight_decay=getattr(self, "weight_decay", 0.0),
            positive_dict=self.positive_dict,
            annealing=Annealing(self._peak_alpha(self._alpha(self.n_features_in_))) if anneals else None,
            target=target,
            replacement=Replacement(model, batch_rows) if replaces else None,
            gives_statistics=self._is_online() and isinstance(model.decoder, LinearDecoder),
            **fast,
        )

    def _is_automatic(self) -> bool:
        return isinstance(self.optimizer, str)

    def _is_online(self) -> bool:
        """Whether atoms come from statistics; a user's builder may build any decoder."""
        if isinstance(self.optimizer, OnlineUpdate):
            return True
        return self._is_automatic() and self.encoder is None and self._is_linear()

    def _look_at_codes(self, rows: Rows, plan: TrainingPlan, watch: Watch) -> None:
        # Not after every call of partial_fit, before the encoder can have learnt its part, or where it was said.
        has_learnt = plan.schedule_epochs is None and self.n_iter_ >= FEWEST_EPOCHS_OF_ENCODER
        uses_encoder = self.encoder is not None and self.transform_algorithm != "solver" and not self._allows_missing
        if uses_encoder and has_learnt and not watch.said & {"unpredicted", "collapsed", "under-trained"}:
            look_at_codes(self, rows)

    def _models_means(self) -> bool:
        return self.positive_dict or not self._is_linear()  # layers have biases

    def _optimizer(self, plan: TrainingPlan) -> Any:
        if not self._is_automatic():
            return self.optimizer
        if self._is_online():
            return OnlineUpdate()
        decoder_rate, encoder_rate = self._RATES if self._is_linear() else _RATES_OF_OTHERS
        # The longer an encoder is trained the less it gains from haste; measured at 500 and 3,000 steps.
        encoder_rate *= (_FEW_STEPS / max(plan.n_steps or _FEW_STEPS, _FEW_STEPS)) ** (1 / 7)
        # Calls of partial_fit have no end that rates could fall towards.
        schedule = CosineRate(0.1, start=0.1) if plan.schedule_epochs is None else None
        return Adam(decoder_rate, encoder_learning_rate=encoder_rate, relative=True, schedule=schedule)

    def _follows_length(self, plan: TrainingPlan) -> bool:
        return (self._is_automatic() and not self._is_online()) or super()._follows_length(plan)

    def _training_solver(self, model: DictionaryModel) -> Any:
        if self.solver is not None:
            return None
        is_lasso = self._is_online() and self.encoder is None and self._hinge()[0] == 0
        return ADMM() if is_lasso else FISTA(max_iter=_TRAINING_ITERATIONS)

    def _plan(self, n_rows: int) -> TrainingPlan:
        """Return the budget for so many rows; 0 where nobody knows."""
        batch_size = self._batch_size(n_rows) if isinstance(self.batch_size, str) else self.batch_size
        n_batches = max(1, -(-n_rows // batch_size))
        max_epochs = self._n_epochs(n_rows, n_batches) if isinstance(self.max_iter, str) else self.max_iter
        n_steps = max_epochs * n_batches if n_rows else None
        return TrainingPlan(batch_size, max_epochs, self._early_stopping(), n_steps=n_steps)

    def _batch_size(self, n_rows: int) -> int:
        if self._is_online():
            return min(max(n_rows // 8, 32), 512) if n_rows else 512
        return min(max(n_rows // 4, 32), 125) if 0 < n_rows < _MANY_ROWS else 200

    def _n_epochs(self, n_rows: int, n_batches: int) -> int:
        fewest_epochs, n_steps = (15, 400) if self._is_online() else (10, 700)
        if n_rows == 0:
            return fewest_epochs
        if not self._is_online() and n_rows < _MANY_ROWS and self.n_components * self.n_features_in_ <= _FEW_WEIGHTS:
            n_steps = 1200
        return max(fewest_epochs, -(-n_steps // n_batches)) if n_rows < _MANY_ROWS else fewest_epochs

    def _target(self) -> TargetSparsity | None:
        return self.alpha if isinstance(self.alpha, TargetSparsity) else None

    def _alpha(self, n_features: int) -> float:
        """Return the weight of the L1 norm; of one that is looked for the first value."""
        if isinstance(self.alpha, str | TargetSparsity):
            return _ALPHA * min(1.0, n_features / 64)
        return float(self.alpha)

    def _peak_alpha(self, alpha: float) -> float:
        """Return where the weight begins in an automatic fit."""
        return min(2 / self.n_components, 12 * alpha)

    def _store(self, session: TrainingSession, outcome: Outcome) -> None:
        super()._store(session, outcome)
        found = self.params_.get("penalty.alpha")
        self.alpha_ = self._alpha(self.n_features_in_) if found is None else float(found)
        vars(self).pop("n_dead_encoder_", None)
        if self.encoder is not None:
            self.n_dead_encoder_ = last_count(session.history, "n_dead_encoder")

    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if model.encoder is not None and self.transform_algorithm != "solver":
            return model.encoder(X), None, None
        result = model.infer(X)
        return result.codes, result.n_iter, result.converged

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        linear = isinstance(model.decoder, LinearDecoder)
        init = self.init
        if isinstance(init, str) and init == "auto":
            init = "random" if not linear else "data" if self.encoder is None else self._FIRST_ATOMS
        if isinstance(init, str) and init == "random":
            return
        if not linear:
            raise ValueError(
                f"{type(self).__name__}: init= gives the atoms of a linear dictionary, but decoder={self.decoder!r}. "
                "Use init='auto', or a builder that sets its own weights."
            )
        components = model.decoder.components
        if isinstance(init, str) and init == "scaled":
            _scale_weights_(model, rows)
            return
        atoms = (
            self._draw_atoms(rows, components, generator)
            if isinstance(init, str)
            else to_array(check_matrix(init, f"{type(self).__name__}: init")).astype(np.float64)
        )
        if tuple(atoms.shape) != tuple(components.shape):
            raise ValueError(
                f"{type(self).__name__}: init has shape {tuple(atoms.shape)}, but n_components={self.n_components} "
                f"atoms of {components.shape[1]} features are rows of an array {tuple(components.shape)}."
            )
        with torch.no_grad():
            components.copy_(torch.as_tensor(atoms))

    def _draw_atoms(self, rows: Rows, components: Tensor, generator: torch.Generator) -> Tensor:
        """Return distinct centred rows in the norms of the random atoms they replace; rows at the mean replace none.

        Of non-negative atoms, which the mean is made of as well, they are not centred.
        """
        if len(rows) < self.n_components and self.init == "data":
            raise ValueError(
                f"{type(self).__name__}: init='data' takes {self.n_components} distinct rows as atoms, but there are "
                f"only {len(rows)}. Lower n_components or use init='random'."
            )
        chosen = torch.randperm(len(rows), generator=generator)[: self.n_components]
        drawn = rows.take(chosen.sort().values)
        if not self.positive_dict:
            drawn = drawn - _column_means(_first_rows(rows))
        drawn = torch.where(drawn.isnan(), 0, drawn)  # missing entries
        norms = row_norms(drawn)
        atoms = components.detach().clone()
        scale = torch.linalg.vector_norm(atoms[: len(drawn)], dim=1, keepdim=True)
        atoms[: len(drawn)] = torch.where(norms > 0, drawn / norms * scale, atoms[: len(drawn)])
        return atoms


def _first_rows(rows: Rows) -> Tensor:
    """Return rows enough to tell mean and scale."""
    return rows.read(0, min(len(rows), ROWS_PER_CHUNK))


def _column_means(first: Tensor) -> Tensor:
    means = first.mean(0)
    return means if not bool(means.isnan().any()) else first.nanmean(0).nan_to_num(0.0)


@torch.no_grad()
def _scale_weights_(model: DictionaryModel, rows: Rows) -> None:
    """Bring the first weights to the scale of the rows: reconstructions of codes of order one, and such codes."""
    first = _first_rows(rows)
    scale = (first - _column_means(first)).square_().nanmean().sqrt()  # in place: it is as large as the rows
    if not bool(scale > 0):
        return
    model.decoder.components.mul_(scale)  # type: ignore[operator]
    if isinstance(model.encoder, LISTAEncoder):
        model.encoder.input.div_(scale)


def _can_track(model: DictionaryModel) -> bool:
    return isinstance(model.decoder, LinearDecoder) and isinstance(model.encoder, LISTAEncoder)


@with_parameters
class VarianceDictionaryLearning(_DictionaryCoder):
    """Sparse coding whose energy keeps the standard deviation of every code component above a floor.

    Codes of a batch minimise::

        sum_i 1/d |x_i - D(z_i)|^2 + beta sum_j [(T - s_j)_+]^2 + gamma sum_i 1/l |z_i - E(x_i)|^2 + alpha sum_i |z_i|_1

    over ``z >= 0``, where ``s_j`` is the standard deviation of component j over the batch. The hinge (weight
    `beta`, floor T = `std_threshold`) keeps codes from shrinking while the decoder grows, so that a linear
    dictionary or a multi-layer decoder D needs no constraint on its norm. The LISTA encoder E learns to
    predict the codes and gives them in one pass afterwards.

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

    _RATES: ClassVar[tuple[float, float]] = (0.24, 0.07)
    _FIRST_ATOMS: ClassVar[str] = "scaled"
    _ANNEALS: ClassVar[bool] = True
    _SCALE_DEPENDENT = "alpha, std_threshold and step sizes"
    _NEEDS_ROWS = "Standard deviations of codes need several."

    beta: float = parameter(
        default=10.0,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Weight of the variance hinge; 0 leaves the model without protection against collapse. The hinge belongs "
        "to a batch: its weight per row goes as 1 / `batch_size`.",
    )
    gamma: float | str = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        kind='float or "auto"',
        text='Weight of the coupling of codes to the encoder\'s prediction; "auto" is 5 for a linear decoder, else '
        "100.",
    )
    std_threshold: float = parameter(
        default=0.5,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Floor T: a pull on the standard deviations, not a constraint.",
    )

    def _gamma(self) -> float:
        if not isinstance(self.gamma, str):
            return float(self.gamma)
        return _GAMMA_LINEAR if self._is_linear() else _GAMMA_OTHER


@with_parameters
class StandardDictionaryLearning(_DictionaryCoder):
    """Sparse coding with atoms of fixed norm, and an encoder that learns to predict the codes.

    Codes of a row minimise::

        1/d |x - D(z)|^2 + gamma 1/l |z - E(x)|^2 + alpha |z|_1

    over ``z >= 0``. After every step the rows of every matrix of the decoder D are set to the norm `atom_norm`, or
    codes would shrink while atoms grow. This is the paper's baseline SDL; ``decoder="mlp"`` is SDL-NL, and without
    an encoder (``encoder=None``) the models are its DO and DO-NL, whose codes come from the solver.

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

    atom_norm: float | None = parameter(
        default=1.0,
        accepts=[Interval(Real, 0, None, closed="neither"), None],
        kind="float or None",
        text="Norm of every atom, and of every row of each matrix of a multi-layer decoder. None leaves the model "
        "without protection against collapse.",
    )


@with_parameters
class WeightDecayDictionaryLearning(_DictionaryCoder):
    """Sparse coding with weight decay on the decoder, and an encoder that learns to predict the codes.

    Codes of a row minimise::

        1/d |x - D(z)|^2 + gamma 1/l |z - E(x)|^2 + alpha |z|_1

    over ``z >= 0``; the decoder's weights decay instead of having a fixed norm. This is the paper's baseline WDL;
    ``decoder="mlp"`` is WDL-NL.

    With ``encoder=None, positive_code=False, optimizer=SGD(...)`` it is classical sparse coding by gradient steps
    ``A += eta (mean(r z) - 2 kappa A)`` on the dictionary, r being the residual: in the units of that formula,
    ``learning_rate = eta d / 2`` and ``weight_decay = 4 kappa / d``.

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

    weight_decay: float = parameter(
        default=1e-4,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Coefficient w of the decay of the decoder's weights: the optimiser adds ``w W`` to the gradient of the "
        "mean squared error, as if ``w / 2 |W|^2`` were part of the loss. The code that the paper cites uses 5e-4; "
        "choose it by the regret curve.",
    )
