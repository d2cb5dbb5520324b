"""Variational sparse coders: an encoder gives a posterior over codes, a decoder reconstructs from its draws."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log, sqrt
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import COUNT, NON_NEGATIVE, POSITIVE, HasMethods, Interval, StrOptions
from skvardict._utils import ranks
from skvardict._utils.parameters import (
    PARTS,
    TRAINING,
    Part,
    check_count,
    check_part,
    one_of,
    parameter,
    with_parameters,
)
from skvardict._utils.random import draw_seed, make_generator
from skvardict._utils.state import of_one_model
from skvardict._utils.types import Array, ArrayLike, RandomState
from skvardict.distributions import (
    PRIORS,
    Gamma,
    Gaussian,
    LocationScale,
    SpikeAndSlab,
    Thresholded,
    gamma_threshold_for,
    threshold_for,
)
from skvardict.estimators._fields import Encoder, Solver
from skvardict.estimators._missing import MissingEntries
from skvardict.models import (
    DenseLatent,
    LearntNoise,
    MaskedVariationalModel,
    SpikeAndSlabLatent,
    ThresholdedLatent,
    VariationalModel,
)
from skvardict.models.latents import Latent
from skvardict.models.masked import with_zeros
from skvardict.networks import (
    DECODERS,
    POSTERIOR_ENCODERS,
    AffineDecoder,
    Linear,
    build_decoder,
    build_posterior_encoder,
)
from skvardict.objectives import BaseVariationalObjective, ExactVariationalObjective, VariationalObjective
from skvardict.rows import ROWS_PER_CHUNK, Rows
from skvardict.training import (
    SGD,
    Adam,
    CosineRate,
    Decay,
    EarlyStopping,
    OnlineUpdate,
    Ramp,
    StepDecay,
    TrainingPlan,
)
from skvardict.training.optimizers import Schedule
from skvardict.training.protocol import Sums, add_sums

_GAMMA_CONCENTRATION = 3.0  # of the prior of a random threshold (Fallah & Rozell, appendix B)
# The automatic warm-up of the noise.
_WARMUP = Ramp(0.1, 0.0375, 0.15, unit="fraction")
# Of the mean square of a row, assumed to be one: the likelihood's variance under ``kl_weight=None``.
_NOISE_SHARE = 0.1


def _observed_mean(rows: Rows, summed: Callable[[Tensor], Tensor]) -> Tensor:
    """Return sums of the observed entries over their number, in double precision."""
    parts = [(summed(with_zeros(batch)), summed((~batch.isnan()).double())) for _, batch in rows.slices()]
    total, count = (ranks.all_sum(torch.stack(part).sum(0)) for part in zip(*parts, strict=True))
    return total / count.clamp_min(1)


@with_parameters
class _VariationalCoder(MissingEntries):
    """What the variational models share: networks, draws, bounds, and codes from the posterior."""

    _DIVERGENCE_ADVICE = (
        "Lower the learning rates of optimizer=, lengthen the warm-up, and check that X has a mean square of about 1."
    )
    _SPARSITY_PARAMETER = "kl_weight"
    _SCALE_DEPENDENT = "kl_weight and prior_scale"
    _MEAN_SQUARE_RANGE = (0.01, 100.0)
    _ENCODERS: ClassVar[Mapping[str, Part]] = POSTERIOR_ENCODERS  # what names stand for
    _DECODERS: ClassVar[Mapping[str, Part]] = DECODERS
    _AUTO_OPTIMIZER: ClassVar[Adam] = Adam(1e-3)
    _AUTO_OPTIMIZER_EXACT: ClassVar[Adam] = Adam(1e-3)  # where nothing is drawn
    transform_algorithm: str  # whose names a subclass lists
    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "history_ : dict of list": 'One entry per epoch: "energy" and its terms "reconstruction" and "kl" (with a '
        'random threshold also "threshold_kl") per row, sparsity of draws (in closed form: 1 - P(on)), their mean L1 '
        'where any are drawn, "kl_weight" where it is learnt, dead components, seconds; '
        "on validation rows, R^2 of the posterior mean and the number of components whose mean divergence is below "
        "0.01 nat.",
        "n_dead_ : int": "Components whose draws were all zero in the last epoch (in closed form: are on less than "
        "once); 0 while the noise is warmed up.",
        "kl_weight_ : float": "Weight of the divergence that the model was fitted with.",
        "noise_seed_ : int": 'Of the noise that ``transform_algorithm="max_elbo"`` gives to every row.',
    }

    n_components: int = parameter(default=256, kw_only=False)
    prior_scale: float | None = parameter(
        default=None, accepts=[*POSITIVE, None], kind="float or None", text="Scale of the prior."
    )
    kl_weight: float | str | None = parameter(
        default="auto",
        accepts=[*NON_NEGATIVE, StrOptions({"auto"}), None],
        kind='float, "auto" or None',
        text="Weight of the divergence, summed over components, beside the *mean* over features of the squared error: "
        "it stands for a likelihood of variance ``n_features * kl_weight / 2``. Papers print weights beside the *sum* "
        "of squares: divide them by ``n_features``. Fallah & Rozell print .01 beside a sum and have it beside a mean "
        'in their code (:func:`skvardict.recipes.vsc` knows both). "auto": the variance is learnt, as the running mean '
        "of the squared error; the weight is in `kl_weight_` and, by epochs, in the history. None: ``0.2 / "
        "n_features``, a variance of a tenth, for rows of mean square one.",
    )
    expectation: str = parameter(
        default="auto",
        accepts=[StrOptions({"auto", "exact", "draws"})],
        kind='{"auto", "exact", "draws"}',
        text='How the mean over codes is taken in training. "exact": in closed form, by mean and variance of codes, '
        "for linear decoders; nothing is drawn, and gradients have neither noise nor bias. "
        '"draws": over `n_draws` draws, reduced by `draw_reduction`, as in the papers. "auto": "exact" where the '
        'decoder is "linear", the laws allow it, and `draw_reduction` is neither "softmax" nor "iwae".',
    )
    n_draws: int = parameter(
        default=1,
        accepts=COUNT,
        kind="int",
        text='Posterior draws per row and step of ``expectation="draws"``, and of ``transform_algorithm="max_elbo"``.',
    )
    draw_reduction: str = parameter(
        default="mean",
        accepts=[StrOptions({"max", "mean", "softmax", "iwae"})],
        kind='{"mean", "max", "softmax", "iwae"}',
        text="How draws are reduced: all alike, the best one only, or weighted by the softmax of their bounds (the "
        'released code of Fallah & Rozell calls that iwae). "iwae" is the importance-weighted bound of Burda et al., '
        "whose weights have the densities of the draws. Its gradient is exact in expectation, of codes with zeros too "
        "(which need two draws), whatever `gradient` says; a random threshold is part of the law then, and "
        "`threshold_kl_weight` is not used.",
    )
    atom_norm: float | None = parameter(
        default=None,
        accepts=[*POSITIVE, None],
        kind="float or None",
        text="Norm of every atom; None: free. Convolutional decoders need None.",
    )
    encoder: Encoder = parameter(
        default="mlp",
        accepts=[StrOptions(set(POSTERIOR_ENCODERS)), HasMethods(["build_encoder"]), callable],
        kind=f"{one_of(POSTERIOR_ENCODERS)}, part or callable",
        text="Gives the parameters of the posterior, side by side. :class:`skvardict.networks.MLP`, "
        ":class:`~skvardict.networks.ResidualMLP`, :class:`~skvardict.networks.ResNet` and "
        ":class:`~skvardict.networks.Conv` have settings. A callable "
        "``(n_features, n_outputs) -> Module`` may build any network that works row by row.",
        group=PARTS,
    )
    missing: str = parameter(
        default="error",
        accepts=[StrOptions({"error", "mask"})],
        kind='{"error", "mask"}',
        text='What NaN in `X` means. "error" refuses it. "mask": the entry is missing, and the likelihood is that of '
        "the others: squared errors are sums over the observed entries, divided by `n_features` (in `score` and for "
        '``transform_algorithm="solver"`` means over them). `reconstruct` fills in the missing ones. The encoder reads '
        "zeros there.",
        group=TRAINING,
    )
    solver: Solver | None = parameter(
        default=None, text='For ``transform_algorithm="solver"``; None is ``FISTA(max_iter=1000, restart=True)``.'
    )

    def _models_means(self) -> bool:
        return not self._is_linear()  # layers have biases

    @abstractmethod
    def _latent(self) -> Latent:
        """Return the family of posterior and prior."""

    def _family(self) -> Latent:
        """Return the family of posterior and prior, with the heads that suit the way of training."""
        latent = self._latent()
        return latent.for_expectations() if self._is_exact() else latent

    def _is_exact(self) -> bool:
        """Return whether the mean over codes is taken in closed form."""
        if self.expectation != "auto":
            return self.expectation == "exact"
        is_mean = self.draw_reduction in ("mean", "max")  # the others are bounds of their own
        return self._is_linear() and is_mean and self._latent().has_closed_form

    @property
    def kl_weight_(self) -> float:
        """Weight of the divergence that the model was fitted with."""
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no kl_weight_ before fit.")
        learnt = self.params_.get("noise.kl_weight")
        return self._kl_weights(self.n_features_in_)["kl"] if learnt is None else float(learnt)

    @of_one_model
    def posterior_params(self, X: ArrayLike) -> dict[str, Array]:
        """Return the parameters of the posterior of every row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        params : dict of ndarray or Tensor, each of shape (n_samples, n_components)
            "mean" and "scale" of the base variable (before thresholding), "code_mean" of the code, and where they
            exist "threshold" (the mean of a random one) and "activation_probability".
        """
        rows = self._rows(X)
        blocks = self._map_blocks(lambda model, block: model.posterior_params(block), rows)
        return {name: rows.give_back(torch.cat([block[name] for block in blocks])) for name in blocks[0]}

    @of_one_model
    def sample_codes(self, X: ArrayLike, n_draws: int = 1, random_state: RandomState = None) -> Array:
        """Return draws from the posterior of every row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        n_draws : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        codes : ndarray or Tensor of shape (n_draws, n_samples, n_components)
        """
        check_count("n_draws", n_draws)
        rows = self._rows(X)
        generator = make_generator(draw_seed(random_state), rows.device)
        blocks = self._map_blocks(lambda model, block: model.sample_codes(block, n_draws, generator), rows, n_draws)
        return rows.give_back(torch.cat(blocks, dim=1))

    def sample_prior_codes(self, n_samples: int = 1, random_state: RandomState = None) -> np.ndarray:
        """Return codes drawn from the prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        check_count("n_samples", n_samples)
        model = self._model(torch.device("cpu"))
        return model.sample_prior_codes(n_samples, make_generator(draw_seed(random_state))).numpy()

    def sample(self, n_samples: int = 1, random_state: RandomState = None) -> np.ndarray:
        """Return data generated from the prior: decoded draws, without noise of the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        return self._decode(Rows(self.sample_prior_codes(n_samples, random_state), device=self.device))

    @of_one_model
    def elbo(self, X: ArrayLike, n_draws: int = 1, random_state: RandomState = None) -> Array:
        """Return the evidence lower bound ``E log p(x|z) - KL(q(z|x) || p(z))`` of every row, in nats.

        It bounds the log-likelihood of the model that :meth:`sample` draws from: codes z with the law of the prior,
        zeros included, and a Gaussian likelihood of variance ``n_features * kl_weight / 2``, its constants included.
        Of a linear decoder and laws with a closed divergence it is exact, and nothing is drawn; else the reconstruction
        is averaged over draws, and a divergence without a closed form too. What thresholded models are trained on by
        draws is another number, with the divergence of the base variables: :meth:`energy`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        n_draws : int, default=1
            Where any are drawn.
        random_state : int, RandomState or None, default=None

        Returns
        -------
        bounds : ndarray or Tensor of shape (n_samples,)

        Raises
        ------
        ValueError
            If ``kl_weight=0``: the likelihood has no variance then.
        """
        return self._bound("elbo", X, n_draws, random_state)

    @of_one_model
    def iwae(self, X: ArrayLike, n_draws: int = 100, random_state: RandomState = None) -> Array:
        """Return the importance-weighted bound ``log 1/K sum_k p(x, z_k) / q(z_k | x)`` of every row, in nats.

        Larger `n_draws` K give a tighter bound; K = 1 has the expectation of :meth:`elbo`. Likelihood and densities
        are those of :meth:`elbo`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        n_draws : int, default=100
        random_state : int, RandomState or None, default=None

        Returns
        -------
        bounds : ndarray or Tensor of shape (n_samples,)

        Raises
        ------
        ValueError
            If ``kl_weight=0``: the likelihood has no variance then.

        References
        ----------
        Burda, Grosse & Salakhutdinov, Importance weighted autoencoders, ICLR 2016, eq. 8.
        """
        return self._bound("iwae", X, n_draws, random_state)

    @of_one_model
    def energy(self, X: ArrayLike) -> dict[str, float]:
        """Return the training objective by term (unweighted) and in all, as means per row.

        The terms are those of ``history_`` for validation rows: in closed form where training is, else of `n_draws`
        draws, reduced as `draw_reduction` says, from noise that is the same at every call, without warm-ups.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        energies : dict
            "reconstruction", the mean squared error; "kl", of thresholded models trained by draws the paper's
            divergence of the base variables, with a random threshold also "threshold_kl"; and "total", weighted. For
            such models ``-total / kl_weight`` is no bound of a likelihood, up to whatever constant: see :meth:`elbo`.

        References
        ----------
        Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, eq. 5.
        """
        rows = self._rows(X)
        plan = self._plan(len(rows))
        sums: Sums = {}

        def evaluate(model: VariationalModel, block: Tensor) -> BaseVariationalObjective:
            objective = self._build_objective(model, len(block), plan)
            add_sums(sums, objective.evaluate(block))
            return objective

        objective = self._map_blocks(evaluate, rows, self.n_draws)[-1]
        terms = objective.summarize(sums, validation=True)
        return {
            **{name: terms[f"validation_{name}"] for name in ("reconstruction", *objective.model.weights)},
            "total": terms["validation_energy"],
        }

    def _bound(self, name: str, X, n_draws: int, random_state):
        check_count("n_draws", n_draws)
        rows = self._rows(X)
        generator = make_generator(draw_seed(random_state), rows.device)
        bounds = self._map_blocks(lambda model, block: getattr(model, name)(block, n_draws, generator), rows, n_draws)
        return rows.give_back(torch.cat(bounds))

    @torch.no_grad()
    def _map_blocks(self, function: Callable[[Any, Tensor], Any], rows: Rows, n_draws: int = 1) -> list:
        """Return ``function(model, block)`` of blocks of rows small enough for `n_draws` draws."""
        model = self._model(rows.device, rows.dtype)
        blocks = rows.slices(min(ROWS_PER_CHUNK, model.rows_at_a_time(n_draws)))
        return [function(model, block) for _, block in blocks]

    def _store(self, session, outcome) -> None:
        super()._store(session, outcome)
        self.noise_seed_ = session.generator.initial_seed()

    def _kl_weights(self, n_features: int) -> dict[str, float]:
        """Return the weights of the divergences; of one that is learnt, zero."""
        if self.kl_weight is None:
            return {"kl": 2 * _NOISE_SHARE / n_features}
        return {"kl": 0.0 if isinstance(self.kl_weight, str) else self.kl_weight}

    def _optimizer(self, plan: TrainingPlan) -> Any:
        is_auto = isinstance(self.optimizer, str)
        return self._AUTO_OPTIMIZER_EXACT if is_auto and self._is_exact() else super()._optimizer(plan)

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        if model.noise is not None:
            model.noise.start_(float(_observed_mean(rows, lambda batch: batch.square().sum(dtype=torch.float64))))

    def _schedules(self) -> dict[str, Any]:
        """Return what the model schedules by itself."""
        return {}

    def _build_model(self, n_features: int, generator: torch.Generator) -> VariationalModel:
        latent = self._family()
        decoder = build_decoder(
            self.decoder,
            n_features,
            self.n_components,
            generator=generator,
            names=self._DECODERS,
        )
        self._check_atom_norm(decoder)
        kind = MaskedVariationalModel if self._allows_missing else VariationalModel
        model = kind(
            decoder=decoder,
            encoder=build_posterior_encoder(
                self.encoder,
                n_features,
                latent.n_heads * self.n_components,
                generator=generator,
                names=self._ENCODERS,
            ),
            latent=latent,
            n_components=self.n_components,
            n_features=n_features,
            kl_weights=self._kl_weights(n_features),
            solver=self.solver,
            noise=LearntNoise(0.0, n_features) if isinstance(self.kl_weight, str) else None,
        )
        self._check_expectation(model)
        model.check_algorithm(self.transform_algorithm)
        return model

    def _check_expectation(self, model: VariationalModel) -> None:
        """Raise a ValueError where the mean over codes has no closed form, but is asked for."""
        name = type(self).__name__
        if self._is_exact() and not model.is_linear:
            raise ValueError(
                f"{name}: expectation='exact' needs a linear decoder, but the decoder is of "
                f"{type(model.decoder).__name__}: the mean of what it makes of codes has no closed form. Use "
                "expectation='draws', or decoder='linear'."
            )
        if self._is_exact() and not model.latent.has_closed_form:
            raise ValueError(
                f"{name}: expectation='exact' needs a divergence in closed form, but there is none from the prior "
                f"{model.latent.prior!r}. Use expectation='draws', or another prior."
            )

    def _build_objective(
        self, model: VariationalModel, batch_rows: float, plan: TrainingPlan
    ) -> BaseVariationalObjective:
        optimizer, schedules = self._optimizer(plan), self._schedules()
        common: dict[str, Any] = {
            "model": model,
            "atom_norm": self.atom_norm,
            "dictionary_learning_rate": getattr(optimizer, "dictionary_learning_rate", None),
        }
        if self._is_exact():
            statistics = isinstance(optimizer, OnlineUpdate)
            return ExactVariationalObjective(**common, divergence=self._divergence(), gives_statistics=statistics)
        if self.draw_reduction == "iwae" and self.n_draws == 1 and model.latent.prior_activation_probability < 1:
            raise ValueError(
                f"{type(self).__name__}: draw_reduction='iwae' needs n_draws >= 2 for codes with zeros, but n_draws=1: "
                "what a draw adds to the bound is measured against the others. Raise n_draws."
            )
        return VariationalObjective(**common, n_draws=self.n_draws, draw_reduction=self.draw_reduction, **schedules)

    def _divergence(self) -> str:
        """Return whose gates are compared with the prior's."""
        return "row"

    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        return model.encode(X, self.transform_algorithm, n_draws=self.n_draws, noise_seed=self.noise_seed_)


@with_parameters
class SparseVAE(_VariationalCoder):
    """Sparse-coding variational autoencoder: Gaussian posterior, sparse prior, linear generator with unit-norm atoms.

    Minimises, over encoder and decoder::

        1/d |x - D(z)|^2 + kl_weight KL(N(mu(x), s(x)^2) || p(z)),    z from the posterior,

    in closed form where decoder and prior allow it (`expectation`) and else at draws, with a Laplace, Gaussian, Cauchy
    or Student-t prior of scale `prior_scale`. With ``atom_norm=1.0`` atoms are put back to unit norm after every step
    (SVAE-Norm), without a norm (SVAE) few filters are used; ``prior="gaussian"`` is a beta-VAE.

    Only the product ``kl_weight * n_features`` = ``2 sigma^2 beta`` matters of the noise variance sigma^2 of the
    likelihood and the weight beta of the divergence: they cannot be set apart.

    References
    ----------
    Jiang & de la Iglesia, Improved training of sparse coding variational autoencoder via weight normalization, 2021.
    Barello, Charles & Pillow, Sparse-coding variational auto-encoders, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import SparseVAE
    >>> from skvardict.networks import MLP
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = SparseVAE(n_components=32, encoder=MLP((64,)), max_iter=5, random_state=0).fit(X)
    >>> coder.transform(X[:10]).shape
    (10, 32)
    """

    prior: str | LocationScale = parameter(
        default="laplace",
        accepts=[StrOptions(set(PRIORS)), LocationScale],
        kind=f"{one_of(PRIORS)} or law",
        text="Law of the codes. A law of :mod:`skvardict.distributions` carries its own parameters, but for center and "
        "scale: ``StudentT(df=2)`` (the name stands for ``df=3``). The divergence from a prior without a closed form "
        "(Cauchy, Student's t, laws of your own) is estimated at the draws.",
    )
    prior_scale: float = parameter(
        default=0.1,
        accepts=POSITIVE,
        kind="float",
        text="Scale of the prior: mean absolute value (Laplace), standard deviation (Gaussian) or half-width (Cauchy) "
        "of a code.",
    )
    kl_weight: float | str | None = None
    atom_norm: float | None = 1.0
    transform_algorithm: str = parameter(
        default="mean",
        accepts=[StrOptions({"mean", "max_elbo", "solver"})],
        kind='{"mean", "max_elbo", "solver"}',
        text="Posterior mean (dense); the best of `n_draws` draws made from noise that is the same for every row; or "
        "the most probable codes under a Laplace prior by the solver, ``alpha = kl_weight / prior_scale``, started at "
        "the mean.",
        group=PARTS,
    )
    batch_size: int = 128
    max_iter: int = 50

    def _latent(self) -> DenseLatent:
        law = PRIORS[self.prior]() if isinstance(self.prior, str) else self.prior
        if (law.loc, law.scale) != (0, 1):
            raise ValueError(
                f"SparseVAE: prior_scale={self.prior_scale} is the scale of the prior, whose center is zero, but "
                f"prior={law!r}. Leave out its loc and scale."
            )
        return DenseLatent(replace(law, scale=self.prior_scale))


@with_parameters
class _SparseVariationalCoder(_VariationalCoder):
    """What the models with exact zeros share: the paper's optimiser, warm-up, and first atoms."""

    _DECODERS: ClassVar[Mapping[str, Part]] = {**DECODERS, "linear": Linear(offset=True)}
    _AUTO_OPTIMIZER_EXACT: ClassVar[Adam] = Adam(1e-2, encoder_learning_rate=1e-3, schedule=CosineRate(0.05))
    _PAPER_OPTIMIZER: ClassVar[SGD] = SGD(  # of a dictionary by draws
        1e-2,
        dictionary_learning_rate=0.5,
        dictionary_weight_decay=1e-4,
        schedule=CosineRate(0.05),
        dictionary_schedule=StepDecay(0.99, 1),
    )
    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {
        "mean_ : ndarray of shape (n_features,)": "Mean of the rows of the first `fit` (of `fit_stream`: of its first "
        "chunk), a constant of the linear decoder; not there with other decoders.",
    }

    activation_probability: float = parameter(
        default=0.1,
        accepts=[Interval(Real, 0, 1, closed="neither")],
        kind="float",
        text="Share of components that are on under the prior.",
    )
    divergence: str = parameter(
        default="row",
        accepts=[StrOptions({"row", "aggregate"})],
        kind='{"row", "aggregate"}',
        text='Of gates from those of the prior. "row": in every row each component is held near '
        '`activation_probability`, the evidence bound. "aggregate": its mean over the rows of a batch is, and rows are '
        "free to have it on or off, so that P(on) spreads to 0 and 1 and codes repeat; what is minimised is then no "
        'bound. Needs ``expectation="exact"``.',
    )
    n_draws: int = 20
    draw_reduction: str = "max"
    transform_algorithm: str = parameter(
        default="auto",
        accepts=[StrOptions({"auto", "mean", "median", "support", "top_k", "max_elbo", "solver"})],
        kind='{"auto", "solver", "support", "top_k", "max_elbo", "mean", "median"}',
        text='"solver": the most probable codes of a linear dictionary under a Laplace prior of the same mean absolute '
        'value, by FISTA, started at the posterior mean. "support": the means of the components that are on with '
        'probability above 1/2, zero elsewhere. "top_k": the components with the largest ``|E z|``, as many '
        'as are on under the prior, at their mean. "max_elbo": the best of `n_draws` draws made from noise that is the '
        'same for every row. "mean": posterior mean of the code, dense. "median": posterior median, zero wherever a '
        'component is on with probability below 1/2. "auto": "solver" for a linear decoder, else '
        '"max_elbo", of 20 draws at least.',
        group=PARTS,
    )
    warmup: Schedule | str | None = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), callable, None],
        kind='"auto", Ramp or None',
        text="Factor of the drawn noise, e.g. ``Ramp(0.1, 1500, 6000)`` in steps; hardly any code passes a threshold "
        'until the noise is back. "auto": 0.1 until 3.75 %, and 1 from 15 % of `max_iter` epochs on; for a Gaussian '
        "base none.",
        group=TRAINING,
    )
    batch_size: int = 100
    max_iter: int = 300
    early_stopping: bool | EarlyStopping = False

    def _optimizer(self, plan: TrainingPlan) -> Any:
        # The paper's rates are those of a dictionary: layers hardly move by them.
        is_paper = isinstance(self.optimizer, str) and self._is_linear() and not self._is_exact()
        return self._PAPER_OPTIMIZER if is_paper else super()._optimizer(plan)

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        super()._initialize(model, rows, generator)
        if isinstance(model.decoder, AffineDecoder):
            components = model.decoder.components
            atoms = torch.randn(components.shape, generator=generator)
            with torch.no_grad():
                components.copy_(atoms / torch.linalg.vector_norm(atoms, dim=1, keepdim=True))
                model.decoder.offset.copy_(_observed_mean(rows, lambda batch: batch.sum(0, dtype=torch.float64)))

    def _models_means(self) -> bool:
        return True  # a linear decoder adds them

    @property
    def mean_(self) -> np.ndarray:
        """Mean of the first rows (`fit`, `partial_fit`, a chunk), which a linear decoder adds; others have none."""
        if "decoder.offset" not in vars(self).get("params_", {}):
            raise AttributeError(
                f"{type(self).__name__} has no mean_ before fit, or with another than a linear decoder."
            )
        return self.params_["decoder.offset"]

    def _schedules(self) -> dict[str, Any]:
        warmup = self._noise_warmup()
        return {} if self._is_exact() else {"noise_warmup": warmup}

    def _divergence(self) -> str:
        return self.divergence

    def _check_expectation(self, model: VariationalModel) -> None:
        super()._check_expectation(model)
        if self.divergence == "aggregate" and not self._is_exact():
            raise ValueError(
                f"{type(self).__name__}: divergence='aggregate' needs expectation='exact', for which the decoder has "
                "to be linear and the threshold no Gamma. Use divergence='row'."
            )

    def _noise_warmup(self) -> Schedule | None:
        warmup = _WARMUP if isinstance(self.warmup, str) else self.warmup
        check_part(warmup)
        return warmup


@with_parameters
class ThresholdedVSC(_SparseVariationalCoder):
    """Variational sparse coding with thresholded draws: exact zeros, at a share that the prior sets.

    The encoder gives mean and scale of a Laplace or Gaussian base variable s; a code is ``z = T(s)``, zero where s is
    within `threshold` of its mean, and else s shrunk towards its mean by `threshold`. In closed form (`expectation`)
    the encoder also gives P(on), from which the row's own thresholds follow, and what is minimised is an evidence
    bound, the mean over codes of ``1/d |x - D(z)|^2`` plus ``kl_weight KL(q(z|x) || p(z))``. By draws, as in the paper,
    it is::

        1/d |x - D(z)|^2 + kl_weight KL(q(s|x) || p(s))  (+ threshold_kl_weight KL(q(t|x) || p(t)))

    at the best of `n_draws` draws per row, with gradients that skip T. This objective (:meth:`energy`) is no bound: T
    moves values towards the posterior's mean, and under the prior towards zero, so that the code z of a base variable s
    depends on the posterior. :meth:`elbo` and :meth:`iwae` are bounds either way, with the laws of the codes.
    Thresholded Laplace variables are spike-and-slab variables that are on with probability ``exp(-threshold / scale)``.

    A posterior that is learned by draws is broad: which components are on is nearly random from draw to draw, and what
    a row says is in the means and probabilities rather than in the support of one draw. In closed form, and more so
    with ``divergence="aggregate"``, components are on or off. `transform_algorithm` chooses what to make of it; see the
    user guide.

    References
    ----------
    Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, eq. 2-9 and appendices B to E.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import ThresholdedVSC
    >>> from skvardict.networks import MLP
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = ThresholdedVSC(n_components=40, encoder=MLP((64,)), max_iter=5, random_state=0).fit(X)
    >>> bool(0 < (coder.transform(X) != 0).mean() < 0.2)
    True
    """

    _DIVERGENCE_ADVICE = (
        "Lower the learning rates of optimizer=, or raise kl_weight: with a Laplace base 2 * prior_scale "
        "* sqrt(v) / n_features holds means back, where v is the variance of X along its leading direction."
    )

    _ATTRIBUTES: ClassVar[Mapping[str, str]] = {"threshold_ : float": "Threshold, or the prior mean of a random one."}

    base: str = parameter(
        default="laplace",
        accepts=[StrOptions({"laplace", "gaussian"})],
        kind='{"laplace", "gaussian"}',
        text="Law of the variable that is thresholded.",
    )
    threshold: float | None = parameter(
        default=None,
        accepts=[*NON_NEGATIVE, None],
        kind="float or None",
        text="Distance from the mean within which a code is zero; None: from `activation_probability`. 0 gives dense "
        "codes, the plain Laplace or Gaussian model.",
    )
    activation_probability: float = parameter(
        default=0.1, text="Share of components that are on under the prior, turned into the threshold analytically."
    )
    threshold_prior: str | None = parameter(
        default=None,
        accepts=[StrOptions({"gamma"}), None],
        kind='{"gamma"} or None',
        text='"gamma": the encoder also gives a Gamma posterior of the threshold per component; its prior has shape 3 '
        "and mean `threshold`, or such a mean that the share on is `activation_probability`.",
    )
    threshold_kl_weight: float = parameter(
        default=0.001, accepts=NON_NEGATIVE, kind="float", text="Weight of the divergence of the threshold."
    )
    gradient: str = parameter(
        default="straight_through",
        accepts=[StrOptions({"straight_through", "subgradient"})],
        kind='{"straight_through", "subgradient"}',
        text="Whether gradients skip the threshold function, or are its own.",
    )
    prior_scale: float | None = parameter(
        default=None,
        text="Scale of the base variable under the prior; None: 0.1 (Laplace), sqrt(0.1) (Gaussian, a standard "
        "deviation).",
    )

    @property
    def threshold_(self) -> float:
        """Threshold, or the prior mean of a random one."""
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no threshold_ before fit.")
        return self._threshold()

    def _base_prior(self) -> Any:
        scale = 0.1 if self.base == "laplace" else sqrt(0.1)
        return PRIORS[self.base](scale=scale if self.prior_scale is None else self.prior_scale)

    def _threshold(self) -> float:
        if self.threshold is not None:
            return self.threshold
        if self.threshold_prior is None:
            return threshold_for(self._base_prior(), self.activation_probability)
        return gamma_threshold_for(self._base_prior(), self.activation_probability, _GAMMA_CONCENTRATION)

    def _latent(self) -> ThresholdedLatent:
        threshold: Any = self._threshold()
        if threshold == 0 and self.threshold_prior is not None:
            raise ValueError(
                "ThresholdedVSC: threshold=0 has no Gamma prior. Use threshold_prior=None, or a positive threshold."
            )
        if self.threshold_prior is not None:
            threshold = Gamma(_GAMMA_CONCENTRATION, _GAMMA_CONCENTRATION / threshold)
        return ThresholdedLatent(Thresholded(self._base_prior(), threshold), self.gradient == "straight_through")

    def _kl_weights(self, n_features: int) -> dict[str, float]:
        weights = super()._kl_weights(n_features)
        return weights if self.threshold_prior is None else weights | {"threshold_kl": self.threshold_kl_weight}

    def _noise_warmup(self):
        # The released code and the paper warm up Laplace bases only.
        return None if self.warmup == "auto" and self.base == "gaussian" else super()._noise_warmup()


@with_parameters
class SpikeAndSlabVSC(_SparseVariationalCoder):
    """Variational sparse coding with a spike-and-slab posterior: a Gaussian slab behind a gate.

    The encoder gives mean and scale of a Gaussian slab and the log-odds of a gate; a code is their product. Minimises::

        1/d |x - D(z)|^2 + kl_weight KL(q(z|x) || p(z))

    where the divergence is that of the gate plus P(on) times that of the slab: for a linear decoder the mean over all
    codes, in closed form (`expectation`); by draws, as in the papers, at the best of `n_draws` draws per row. Drawn
    gates are 0 or 1, with the gradient of a sigmoid of falling `temperature`.

    References
    ----------
    Tonolini, Jensen & Murray-Smith, Variational sparse coding, UAI 2020. Fallah & Rozell, ICML 2022, appendix D.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import SpikeAndSlabVSC
    >>> from skvardict.networks import MLP
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = SpikeAndSlabVSC(n_components=40, encoder=MLP((64,)), max_iter=5, random_state=0).fit(X)
    >>> coder.sample_codes(X[:10], n_draws=3, random_state=0).shape
    (3, 10, 40)
    """

    transform_algorithm: str = parameter(
        default="auto",
        accepts=[StrOptions({"auto", "mean", "median", "support", "refine", "top_k", "max_elbo", "solver"})],
        kind='{"auto", "refine", "support", "solver", "top_k", "max_elbo", "mean", "median"}',
        text='As in :class:`ThresholdedVSC`, and "refine": "support" of a posterior that 20 mean-field steps in closed '
        "form have brought from what the encoder gives closer to the best one for the row; for linear decoders.",
    )
    temperature: Schedule | str = parameter(
        default="auto",
        accepts=[StrOptions({"auto"}), callable],
        kind='"auto" or Decay',
        text='Of the gates\' gradient; lower has less bias and more variance. "auto" is ``Decay(1.0, 0.5, 0.9995)``.',
        group=TRAINING,
    )
    prior_scale: float | None = parameter(
        default=None, text="Standard deviation of the slab under the prior; None: sqrt(0.1)."
    )

    def _latent(self) -> SpikeAndSlabLatent:
        scale = sqrt(0.1) if self.prior_scale is None else self.prior_scale
        log_odds = log(self.activation_probability / (1 - self.activation_probability))
        return SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=scale), log_odds))

    def _schedules(self) -> dict[str, Any]:
        temperature = Decay() if isinstance(self.temperature, str) else self.temperature
        check_part(temperature)
        schedules = super()._schedules()
        return {} if self._is_exact() else schedules | {"temperature": temperature}
