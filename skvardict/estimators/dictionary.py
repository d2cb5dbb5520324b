"""Dictionary learning with iterative inference and an amortised encoder."""

from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_array
from torch import Tensor

from skvardict._sklearn import HasMethods, Interval, StrOptions
from skvardict._utils.parameters import PARTS, TRAINING, parameter, with_parameters
from skvardict.energies import L1, VarianceHinge
from skvardict.estimators._base import BaseCoder
from skvardict.estimators._fields import SOLVERS, Encoder, Solver
from skvardict.models import DictionaryModel
from skvardict.networks import CODE_ENCODERS, Linear, LinearDecoder, build_code_encoder, build_decoder
from skvardict.objectives import DictionaryObjective
from skvardict.rows import Rows
from skvardict.solvers import FISTA
from skvardict.training import Adam

_GAMMA_LINEAR, _GAMMA_OTHER = 5.0, 100.0  # Table 3 of Evtimova & LeCun: MNIST, VDL and VDL-NL


@with_parameters
class _DictionaryCoder(BaseCoder):
    """Parts and codes of a dictionary model; a subclass adds what keeps its decoder from growing, and the defaults."""

    _AUTO_OPTIMIZER: ClassVar[Adam] = Adam(1e-3, encoder_learning_rate=3e-4)
    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "history_ : dict of list": "One entry per epoch: energies per row by term, R^2, PSNR for a data range of 1 in "
        "the units of X (add ``20 log10(range)``), sparsity, mean L1, dead components, mean component deviation, "
        "solver iterations, seconds. Names that begin with ``validation_`` belong to codes of the encoder, of the "
        "solver if there is none.",
        "n_dead_ : int": "Components never active in the last epoch.",
    }

    alpha: float = parameter(
        default=0.005,
        accepts=[Interval(Real, 0, None, closed="left")],
        kind="float",
        text="Weight of the L1 norm; larger gives sparser codes. In the units of the paper's Table 3: see "
        ":func:`skvardict.energies.to_sklearn_alpha`.",
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
        kind='{"lista", "mlp", "resnet"}, part, callable or None',
        text='"lista" is ``LISTA()``; :class:`skvardict.networks.LISTA`, :class:`~skvardict.networks.MLP`, '
        ":class:`~skvardict.networks.ResNet` and :class:`~skvardict.networks.Conv` have settings. A callable "
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
        default="random",
        accepts=[StrOptions({"random", "data"}), "array-like"],
        kind='{"random", "data"} or array-like of shape (n_components, n_features)',
        text="First atoms of a linear decoder: uniform; distinct rows of `X`, scaled to the norm of the uniform ones; "
        "or those given.",
        group=TRAINING,
    )

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
        beta, _ = self._hinge()
        if beta > 0 and self.batch_size < 2:
            raise ValueError(
                f"{type(self).__name__}: beta={beta} holds standard deviations over a batch, but batch_size="
                f"{self.batch_size}. Use batches of at least 2 rows, or beta=0."
            )
        decoder = build_decoder(
            self.decoder,
            n_features,
            self.n_components,
            generator=generator,
        )
        self._check_atom_norm(decoder)
        return DictionaryModel(
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
            penalty=L1(self.alpha, self.positive_code),
            hinge=VarianceHinge(*self._hinge()),
            gamma=self._gamma(),
        )

    def _build_objective(self, model: DictionaryModel, batch_rows: float) -> DictionaryObjective:
        return DictionaryObjective(
            model=model,
            batch_rows=batch_rows,
            atom_norm=getattr(self, "atom_norm", None),
            weight_decay=getattr(self, "weight_decay", 0.0),
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

    _AUTO_OPTIMIZER: ClassVar[Adam] = Adam(3e-4, encoder_learning_rate=1e-4)

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
        is_linear = self.decoder == "linear" or isinstance(self.decoder, Linear)
        return _GAMMA_LINEAR if is_linear else _GAMMA_OTHER


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
