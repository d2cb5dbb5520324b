"""Variational sparse coders: an encoder gives a posterior over codes, a decoder reconstructs from its draws."""

from abc import abstractmethod
from collections.abc import Callable
from math import sqrt
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import HasMethods, Interval, StrOptions
from skvardict._utils.random import draw_seed, make_generator
from skvardict.distributions import gamma_threshold_for, threshold_for
from skvardict.energies import LinearProblem, Penalties
from skvardict.estimators._base import BaseCoder, check_numbers
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent, VariationalModel
from skvardict.models.latents import LAWS, Anneal
from skvardict.networks import AffineDecoder, LinearDecoder, build_decoder, build_posterior_encoder
from skvardict.objectives import VariationalObjective
from skvardict.rows import ROWS_PER_CHUNK, Rows
from skvardict.solvers import FISTA
from skvardict.training.schedules import CosineRate, Decay, Ramp

_NETWORKS = {"mlp", "conv", "fmnist", "celeba"}
_MOMENTUM = 0.9
_MAX_GRAD_NORM = 1.0  # of the networks' gradient with "sgd"
# Shares of training at which the automatic warm-up of the noise begins and ends.
_WARMUP = (0.1, 0.0375, 0.15)


class _VariationalCoder(BaseCoder):
    """What the variational models share: networks, draws, bounds, and codes from the posterior."""

    _DIVERGENCE_ADVICE = (
        "Lower learning_rate (and dictionary_learning_rate), lengthen the warm-up, and check that X has a mean square "
        "of about 1."
    )
    _SPARSITY_PARAMETER = "kl_weight"
    _SCALE_DEPENDENT = "kl_weight and prior_scale"
    _MEAN_SQUARE_RANGE = (0.01, 100.0)
    _centered = False  # whether a linear decoder adds the mean of the data

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "prior_scale": [Interval(Real, 0, None, closed="neither"), None],
        "kl_weight": [Interval(Real, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "draw_reduction": [StrOptions({"max", "mean", "iwae"})],
        "atom_norm": [Interval(Real, 0, None, closed="neither"), None],
        "encoder": [StrOptions(_NETWORKS | {"resnet"}), callable],
        "encoder_hidden_layer_sizes": ["array-like"],
        "decoder": [StrOptions(_NETWORKS | {"linear"}), callable],
        "hidden_layer_sizes": ["array-like"],
        "image_shape": ["array-like", None],
        "solver": [HasMethods(["solve"]), None],
        "optimizer": [StrOptions({"adam", "sgd"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "adam_betas": [tuple],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "encoder_weight_decay": [Interval(Real, 0, None, closed="left")],
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

    @abstractmethod
    def _latent(self) -> Any:
        """Return the family of posterior and prior."""

    def posterior_params(self, X) -> dict[str, np.ndarray]:
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
        blocks = self._map_blocks(lambda model, block: model.latent.summary(model.posterior(block)), rows)
        return {name: rows.give_back(torch.cat([block[name] for block in blocks])) for name in blocks[0]}

    def sample_codes(self, X, n_draws=1, random_state=None):
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
        _check_count("n_draws", n_draws)
        rows = self._rows(X)
        generator = make_generator(draw_seed(random_state), rows.device)

        def draw(model, block: Tensor) -> Tensor:
            posterior = model.posterior(block)
            noise = model.latent.draw_noise(posterior, n_draws, generator)
            return model.latent.codes(posterior, noise, Anneal())

        return rows.give_back(torch.cat(self._map_blocks(draw, rows, n_draws), dim=1))

    def sample_prior_codes(self, n_samples=1, random_state=None):
        """Return codes drawn from the prior.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
        """
        _check_count("n_samples", n_samples)
        model = self._model(torch.device("cpu"))
        dtype = next(model.decoder.parameters()).dtype
        like = torch.empty((), dtype=dtype)
        generator = make_generator(draw_seed(random_state))
        with torch.no_grad():
            return model.latent.prior_codes((n_samples, self.n_components), generator, like).numpy()

    def sample(self, n_samples=1, random_state=None):
        """Return data generated from the prior: decoded draws, without noise of the likelihood.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState or None, default=None

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        return self.inverse_transform(self.sample_prior_codes(n_samples, random_state))

    def elbo(self, X, n_draws=1, random_state=None):
        """Return the evidence lower bound of every row, in nats.

        The likelihood is Gaussian with variance ``n_features * kl_weight / 2``, its constants included. The
        divergence is exact where it has a closed form; for thresholded models it is that of the base variable and of a
        random threshold. The reconstruction is averaged over draws.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        n_draws : int, default=1
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

    def iwae(self, X, n_draws=100, random_state=None):
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

    def _bound(self, name: str, X, n_draws: int, random_state):
        _check_count("n_draws", n_draws)
        if self.kl_weight == 0:
            raise ValueError(
                f"{type(self).__name__}.{name} needs kl_weight > 0: it is half the variance of the likelihood per "
                "feature. Fit with a positive kl_weight."
            )
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

    def _kl_weights(self) -> dict[str, float]:
        return {"kl": self.kl_weight}

    def _schedules(self) -> dict[str, Any]:
        """Return what the model schedules by itself."""
        return {}

    def _optimizer_settings(self) -> dict[str, Any]:
        if self.optimizer == "adam":
            check_numbers(
                "adam_betas", self.adam_betas, "(beta_1, beta_2), both in [0, 1)", lambda a, b: 0 <= a < 1 > b >= 0
            )
            return {"betas": self.adam_betas}
        return {"momentum": _MOMENTUM, "nesterov": True, "max_grad_norm": _MAX_GRAD_NORM}

    def _build_model(self, n_features: int, generator: torch.Generator) -> VariationalModel:
        latent = self._latent()
        decoder = build_decoder(
            self.decoder,
            n_features,
            self.n_components,
            hidden_layer_sizes=self.hidden_layer_sizes,
            image_shape=self.image_shape,
            generator=generator,
            centered=self._centered,
        )
        self._check_atom_norm(decoder)
        if self.transform_algorithm == "solver":
            self._check_solver_parts(decoder)
        return VariationalModel(
            decoder=decoder,
            encoder=build_posterior_encoder(
                self.encoder,
                n_features,
                latent.n_heads * self.n_components,
                hidden_layer_sizes=self.encoder_hidden_layer_sizes,
                image_shape=self.image_shape,
                generator=generator,
            ),
            latent=latent,
            n_components=self.n_components,
            n_features=n_features,
            kl_weights=self._kl_weights(),
        )

    def _build_objective(self, model: VariationalModel, batch_rows: float) -> VariationalObjective:
        return VariationalObjective(
            model=model,
            n_draws=self.n_draws,
            draw_reduction=self.draw_reduction,
            atom_norm=self.atom_norm,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            encoder_weight_decay=self.encoder_weight_decay,
            settings=self._optimizer_settings(),
            optimizer=self.optimizer,
            **self._schedules(),
        )

    def _check_solver_parts(self, decoder) -> None:
        if not isinstance(decoder, LinearDecoder):
            raise ValueError(
                f"{type(self).__name__}: transform_algorithm='solver' needs decoder='linear', but decoder="
                f"{self.decoder!r}. Use another transform_algorithm."
            )

    @abstractmethod
    def _solver_alpha(self) -> float:
        """Return the L1 weight of the solver: that of a Laplace prior with the prior's mean absolute value."""

    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        latent, algorithm = model.latent, self.transform_algorithm
        if algorithm == "auto":
            algorithm = "solver" if isinstance(model.decoder, LinearDecoder) else "top_k"
        if algorithm == "max_elbo":
            return (
                torch.cat([self._best_codes(model, rows) for rows in self._small_blocks(model, X)]),
                None,
                None,
            )
        posterior = model.posterior(X)
        if algorithm == "median":
            return latent.code_median(posterior), None, None
        summary = latent.summary(posterior)
        if algorithm == "mean":
            return summary["code_mean"], None, None
        if algorithm == "top_k":
            return self._top_k(latent, summary), None, None
        penalties = Penalties(self._solver_alpha(), positive=False)
        decoder = model.decoder
        residual_of_zero = X - decoder(X.new_zeros(1, self.n_components))
        problem = LinearProblem(residual_of_zero, decoder.components, penalties)
        solver = FISTA(max_iter=1000, restart=True) if self.solver is None else self.solver
        result = solver.solve(problem, summary["code_mean"])
        return result.codes, result.n_iter, result.converged

    def _small_blocks(self, model, X: Tensor):
        return X.split(model.rows_at_a_time(self.n_draws))

    def _best_codes(self, model, X: Tensor) -> Tensor:
        posterior = model.posterior(X)
        # One bank of noise for all rows and calls: codes are deterministic, and rows independent.
        generator = make_generator(self.noise_seed_, X.device)
        noise = model.latent.shared_noise(posterior, self.n_draws, generator)
        return model.best_codes(X, posterior, noise)

    def _top_k(self, latent, summary: dict[str, Tensor]) -> Tensor:
        """Return the means of the components with the largest ``|E z|``, as many as the prior has on; else zero."""
        n_active = max(1, round(latent.prior_activation_probability * self.n_components))
        chosen = summary["code_mean"].abs().topk(n_active, dim=-1).indices
        return torch.zeros_like(summary["mean"]).scatter(-1, chosen, summary["mean"].gather(-1, chosen))


class SparseVAE(_VariationalCoder):
    """Sparse-coding variational autoencoder: Gaussian posterior, sparse prior, linear generator with unit-norm atoms.

    Minimises, over encoder and decoder::

        1/d |x - D(z)|^2 + kl_weight KL(N(mu(x), s(x)^2) || p(z)),    z drawn from the posterior,

    with a Laplace, Gaussian or Cauchy prior of scale `prior_scale`. With ``atom_norm=1.0`` atoms are put back to unit
    norm after every step (SVAE-Norm), without a norm (SVAE) few filters are used; ``prior="gaussian"`` is a beta-VAE.

    Only the product ``kl_weight * n_features`` = ``2 sigma^2 beta`` matters of the noise variance sigma^2 of the
    likelihood and the weight beta of the divergence: they cannot be set apart.

    Parameters
    ----------
    n_components : int, default=256
        Length l of a code.
    prior : {"laplace", "gaussian", "cauchy"}, default="laplace"
        The divergence from a Cauchy prior is estimated at the draws.
    prior_scale : float, default=0.1
        Mean absolute value (Laplace), standard deviation (Gaussian) or half-width (Cauchy) of a code.
    kl_weight : float, default=1e-4
        Weight of the divergence, summed over components, beside the mean over features of the squared error.
    atom_norm : float or None, default=1.0
        Norm of every atom; None: free.
    encoder : {"mlp", "resnet", "conv", "fmnist", "celeba"} or callable, default="mlp"
        A callable ``(n_features, n_outputs) -> Module`` may build any network that works row by row; its ``n_outputs =
        2 * n_components`` numbers per row are the mean and the log variance relative to `prior_scale` squared.
    encoder_hidden_layer_sizes : sequence of int, default=(512, 512)
        Of "mlp" and "resnet".
    decoder : {"linear", "mlp", "conv", "fmnist", "celeba"} or callable, default="linear"
        A callable ``(n_features, n_components) -> Module`` may build any decoder that works row by row. Convolutional
        decoders need ``atom_norm=None``.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Of ``decoder="mlp"``, from the code outwards.
    image_shape : tuple (height, width) or (channels, height, width), or None, default=None
        Of a row, for convolutional networks.
    n_draws : int, default=1
        Posterior draws per row and step.
    draw_reduction : {"mean", "max", "iwae"}, default="mean"
        How draws are reduced: all alike, the best one only, or by softmax weights of the bound.
    transform_algorithm : {"mean", "max_elbo", "solver"}, default="mean"
        Posterior mean (dense); the best of `n_draws` draws made from noise that is the same for every row; or the most
        probable codes under a Laplace prior by the solver, ``alpha = kl_weight / prior_scale``, started at the mean.
    solver : FISTA, ISTA or None, default=None
        For ``transform_algorithm="solver"``; None is ``FISTA(max_iter=1000, restart=True)``.
    optimizer : {"adam", "sgd"}, default="adam"
    learning_rate : float, default=1e-3
        Of all parts.
    adam_betas : tuple of two floats, default=(0.9, 0.999)
    weight_decay, encoder_weight_decay : float, default=0.0
        Of the decoder and the encoder; added to the gradient.
    learning_rate_decay : tuple (factor, n_epochs) or None, default=None
        Multiply the rate by `factor` every `n_epochs` epochs.
    batch_size : int, default=128
        Rows per batch at most.
    max_iter : int, default=50
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
        One entry per epoch: "energy" and its terms "reconstruction" and "kl" per row, mean L1 and sparsity of the
        draws, dead components, seconds; on validation rows, R^2 of the posterior mean and the number of components
        whose mean divergence is below 0.01 nat.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components whose draws were all zero in the last epoch; 0 while the noise is warmed up.
    noise_seed_ : int
        Of the noise that ``transform_algorithm="max_elbo"`` gives to every row.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Jiang & de la Iglesia, Improved training of sparse coding variational autoencoder via weight normalization, 2021.
    Barello, Charles & Pillow, Sparse-coding variational auto-encoders, 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import SparseVAE
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = SparseVAE(n_components=32, encoder_hidden_layer_sizes=(64,), max_iter=5, random_state=0).fit(X)
    >>> coder.transform(X[:10]).shape
    (10, 32)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_VariationalCoder._parameter_constraints,
        "prior": [StrOptions({"laplace", "gaussian", "cauchy"})],
        "prior_scale": [Interval(Real, 0, None, closed="neither")],
        "transform_algorithm": [StrOptions({"mean", "max_elbo", "solver"})],
    }

    def __init__(
        self,
        n_components=256,
        *,
        prior="laplace",
        prior_scale=0.1,
        kl_weight=1e-4,
        atom_norm=1.0,
        encoder="mlp",
        encoder_hidden_layer_sizes=(512, 512),
        decoder="linear",
        hidden_layer_sizes=(1024,),
        image_shape=None,
        n_draws=1,
        draw_reduction="mean",
        transform_algorithm="mean",
        solver=None,
        optimizer="adam",
        learning_rate=1e-3,
        adam_betas=(0.9, 0.999),
        weight_decay=0.0,
        encoder_weight_decay=0.0,
        learning_rate_decay=None,
        batch_size=128,
        max_iter=50,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.prior = prior
        self.prior_scale = prior_scale
        self.kl_weight = kl_weight
        self.atom_norm = atom_norm
        self.encoder = encoder
        self.encoder_hidden_layer_sizes = encoder_hidden_layer_sizes
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.n_draws = n_draws
        self.draw_reduction = draw_reduction
        self.transform_algorithm = transform_algorithm
        self.solver = solver
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.adam_betas = adam_betas
        self.weight_decay = weight_decay
        self.encoder_weight_decay = encoder_weight_decay
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

    def _latent(self) -> DenseLatent:
        return DenseLatent(self.prior, self.prior_scale)

    def _check_solver_parts(self, decoder) -> None:
        super()._check_solver_parts(decoder)
        if self.prior != "laplace":
            raise ValueError(
                f"SparseVAE: transform_algorithm='solver' needs prior='laplace', but prior={self.prior!r}. "
                "Use transform_algorithm='mean'."
            )

    def _solver_alpha(self) -> float:
        return self.kl_weight / self.prior_scale


class _SparseVariationalCoder(_VariationalCoder):
    """What the models with exact zeros share: the paper's optimiser, warm-up, and first atoms."""

    _centered = True

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_VariationalCoder._parameter_constraints,
        "activation_probability": [Interval(Real, 0, 1, closed="neither")],
        "transform_algorithm": [StrOptions({"auto", "mean", "median", "top_k", "max_elbo", "solver"})],
        "dictionary_learning_rate": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_schedule": [StrOptions({"cosine", "constant"})],
        "learning_rate_warmup": [Interval(Real, 0, 1, closed="left")],
        "warmup": [StrOptions({"auto"}), tuple, None],
    }

    def _initialize(self, model, rows: Rows, generator: torch.Generator) -> None:
        if isinstance(model.decoder, AffineDecoder):
            components = model.decoder.components
            atoms = torch.randn(components.shape, generator=generator)
            with torch.no_grad():
                components.copy_(atoms / torch.linalg.vector_norm(atoms, dim=1, keepdim=True))
                sums = [batch.sum(0, dtype=torch.float64) for _, batch in rows.slices()]
                model.decoder.offset.copy_(torch.stack(sums).sum(0) / len(rows))

    @property
    def mean_(self) -> np.ndarray:
        """Mean of the first rows (`fit`, `partial_fit`, a chunk), which a linear decoder adds; others have none."""
        if "decoder.offset" not in vars(self).get("params_", {}):
            raise AttributeError(
                f"{type(self).__name__} has no mean_ before fit, or with another than a linear decoder."
            )
        return self.params_["decoder.offset"]

    def _schedules(self) -> dict[str, Any]:
        schedules: dict[str, Any] = {"noise_warmup": self._noise_warmup()}
        if self.learning_rate_schedule == "cosine":
            schedules["rate"] = CosineRate(self.max_iter, self.learning_rate_warmup)
        if self.optimizer == "sgd":
            schedules["dictionary_learning_rate"] = self.dictionary_learning_rate
        return schedules

    def _noise_warmup(self):
        if self.warmup is None:
            return None
        if self.warmup == "auto":
            return Ramp(*_WARMUP, self.max_iter)
        check_numbers(
            "warmup",
            self.warmup,
            "(start, begin, end) with start in [0, 1] and steps 0 <= begin <= end",
            lambda start, begin, end: 0 <= start <= 1 and 0 <= begin <= end,
        )
        return Ramp(*self.warmup)

    def _solver_alpha(self) -> float:
        scale = self._prior_scale()
        mean_absolute = scale if getattr(self, "base", "gaussian") == "laplace" else scale * sqrt(2 / np.pi)
        return self.kl_weight / mean_absolute


class ThresholdedVSC(_SparseVariationalCoder):
    """Variational sparse coding with thresholded draws: exact zeros, at a share that the prior sets.

    The encoder gives mean and scale of a Laplace or Gaussian base variable s; a code is ``z = T(s)``, zero where s is
    within `threshold` of its mean, and else s shrunk towards its mean by `threshold`. Minimises::

        1/d |x - D(z)|^2 + kl_weight KL(q(s|x) || p(s))  (+ threshold_kl_weight KL(q(t|x) || p(t)))

    at the best of `n_draws` draws per row, with gradients that skip T. Thresholded Laplace variables are spike-and-slab
    variables that are on with probability ``exp(-threshold / scale)``.

    The learned posterior is broad: which components are on is nearly random from draw to draw, and what a row says is
    in the means and probabilities rather than in the support of one draw. `transform_algorithm` chooses what to make of
    it; see the user guide.

    Parameters
    ----------
    n_components : int, default=256
        Length l of a code.
    base : {"laplace", "gaussian"}, default="laplace"
    threshold : float or None, default=None
        Distance from the mean within which a code is zero; None: from `activation_probability`. 0 gives dense codes,
        the plain Laplace or Gaussian model.
    activation_probability : float, default=0.1
        Share of components that are on under the prior, turned into the threshold analytically.
    threshold_prior : {"gamma"} or None, default=None
        "gamma": the encoder also gives a Gamma posterior of the threshold per component; its prior has shape 3 and mean
        `threshold`, or such a mean that the share on is `activation_probability`.
    threshold_kl_weight : float, default=0.001
        Weight of the divergence of the threshold.
    gradient : {"straight_through", "subgradient"}, default="straight_through"
        Whether gradients skip the threshold function, or are its own.
    kl_weight : float, default=0.01
        Weight of the divergence, summed over components, beside the mean over features of the squared error: it
        stands for a likelihood of variance ``n_features * kl_weight / 2``.
    prior_scale : float or None, default=None
        Scale of the base variable under the prior; None: 0.1 (Laplace), sqrt(0.1) (Gaussian, a standard deviation).
    n_draws : int, default=20
        Draws per row and step.
    draw_reduction : {"max", "mean", "iwae"}, default="max"
        How draws are reduced: the best one only, all alike, or by softmax weights of the bound.
    atom_norm : float or None, default=None
        Norm of every atom; None: free.
    encoder : {"mlp", "resnet", "conv", "fmnist", "celeba"} or callable, default="mlp"
        A callable ``(n_features, n_outputs) -> Module`` may build any network that works row by row; its ``n_outputs``
        numbers per row are `n_components` each of the mean, the log scale (Gaussian: log variance) and, with a random
        threshold, its log shape and log rate; all but the mean relative to the prior's, where training so begins.
    encoder_hidden_layer_sizes : sequence of int, default=(512, 1024, 512, 256)
        Of "mlp" and "resnet".
    decoder : {"linear", "mlp", "conv", "fmnist", "celeba"} or callable, default="linear"
        A callable ``(n_features, n_components) -> Module`` may build any decoder that works row by row.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Of ``decoder="mlp"``, from the code outwards.
    image_shape : tuple (height, width) or (channels, height, width), or None, default=None
        Of a row, for convolutional networks.
    transform_algorithm : {"auto", "solver", "top_k", "max_elbo", "mean", "median"}, default="auto"
        "solver": the most probable codes of a linear dictionary under a Laplace prior of the same mean absolute value,
        by FISTA, started at the posterior mean. "top_k": the components with the largest ``|E z|``, as many as are on
        under the prior, at their mean. "max_elbo": the best of `n_draws` draws made from noise that is the same for
        every row. "mean": posterior mean of the code, dense. "median": posterior median, zero wherever a component is
        on with probability below 1/2. "auto": "solver" for a linear decoder, else "top_k".
    solver : FISTA, ISTA or None, default=None
        For ``transform_algorithm="solver"``; None is ``FISTA(max_iter=1000, restart=True)``.
    optimizer : {"sgd", "adam"}, default="sgd"
        "sgd": Nesterov momentum 0.9 on the networks, their gradient limited to a norm of 1, and plain gradient steps on
        a linear dictionary. "adam": one rate for all parts.
    learning_rate : float, default=1e-2
        Of the networks.
    dictionary_learning_rate : float, default=0.5
        Step eta of a linear dictionary, ``A += eta mean(r z^T)`` with residuals r; for ``optimizer="sgd"``. A batch
        whose codes would make the step diverge gets a smaller one.
    learning_rate_schedule : {"cosine", "constant"}, default="cosine"
        Of the networks, over `max_iter` epochs; later epochs begin a new cycle.
    learning_rate_warmup : float, default=0.05
        Share of a cycle in which the rate rises from zero; for "cosine".
    learning_rate_decay : tuple (factor, n_epochs) or None, default=(0.99, 1)
        Multiply rates that have no other schedule, the dictionary's among them, by `factor` every `n_epochs` epochs.
    warmup : "auto", tuple (start, begin, end) or None, default="auto"
        Factor of the drawn noise: `start` until step `begin`, then linear to 1 at step `end`; hardly any code passes
        the threshold until the noise is back. "auto": for a Laplace base 0.1 until 3.75 %, and 1 from 15 % of
        `max_iter` epochs on; for a Gaussian base none.
    adam_betas : tuple of two floats, default=(0.9, 0.999)
    weight_decay : float, default=1.6e-6
        Of the decoder, added to the gradient; with a linear dictionary and 256 features the penalty ``1e-4 |A|^2``
        beside ``1/2 |x - z A|^2`` is ``4e-4 / 256``.
    encoder_weight_decay : float, default=0.0
    batch_size : int, default=100
        Rows per batch at most.
    max_iter : int, default=300
        Epochs.
    early_stopping : bool, default=False
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
    mean_ : ndarray of shape (n_features,)
        Mean of the rows of the first `fit` (of `fit_stream`: of its first chunk), a constant of the linear decoder; not
        there with other decoders.
    params_ : dict of ndarray
        All weights.
    threshold_ : float
        Threshold, or the prior mean of a random one.
    history_ : dict of list
        One entry per epoch: "energy" and its terms "reconstruction", "kl" and "threshold_kl" per row, mean L1 and
        sparsity of the draws, dead components, seconds; on validation rows, R^2 of the posterior mean and the number of
        components whose mean divergence is below 0.01 nat.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components whose draws were all zero in the last epoch; 0 while the noise is warmed up.
    noise_seed_ : int
        Of the noise that ``transform_algorithm="max_elbo"`` gives to every row.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, eq. 2-9 and appendices B to E.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import ThresholdedVSC
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = ThresholdedVSC(n_components=40, encoder_hidden_layer_sizes=(64,), max_iter=5, random_state=0).fit(X)
    >>> bool(0 < (coder.transform(X) != 0).mean() < 0.2)
    True
    """

    _DIVERGENCE_ADVICE = (
        "Lower learning_rate (and dictionary_learning_rate), or raise kl_weight: with a Laplace base 2 * prior_scale "
        "* sqrt(v) / n_features holds means back, where v is the variance of X along its leading direction."
    )

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SparseVariationalCoder._parameter_constraints,
        "base": [StrOptions({"laplace", "gaussian"})],
        "threshold": [Interval(Real, 0, None, closed="left"), None],
        "threshold_prior": [StrOptions({"gamma"}), None],
        "threshold_kl_weight": [Interval(Real, 0, None, closed="left")],
        "gradient": [StrOptions({"straight_through", "subgradient"})],
    }

    def __init__(
        self,
        n_components=256,
        *,
        base="laplace",
        threshold=None,
        activation_probability=0.1,
        threshold_prior=None,
        threshold_kl_weight=0.001,
        gradient="straight_through",
        kl_weight=0.01,
        prior_scale=None,
        n_draws=20,
        draw_reduction="max",
        atom_norm=None,
        encoder="mlp",
        encoder_hidden_layer_sizes=(512, 1024, 512, 256),
        decoder="linear",
        hidden_layer_sizes=(1024,),
        image_shape=None,
        transform_algorithm="auto",
        solver=None,
        optimizer="sgd",
        learning_rate=1e-2,
        dictionary_learning_rate=0.5,
        learning_rate_schedule="cosine",
        learning_rate_warmup=0.05,
        learning_rate_decay=(0.99, 1),
        warmup="auto",
        adam_betas=(0.9, 0.999),
        weight_decay=1.6e-6,
        encoder_weight_decay=0.0,
        batch_size=100,
        max_iter=300,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.base = base
        self.threshold = threshold
        self.activation_probability = activation_probability
        self.threshold_prior = threshold_prior
        self.threshold_kl_weight = threshold_kl_weight
        self.gradient = gradient
        self.kl_weight = kl_weight
        self.prior_scale = prior_scale
        self.n_draws = n_draws
        self.draw_reduction = draw_reduction
        self.atom_norm = atom_norm
        self.encoder = encoder
        self.encoder_hidden_layer_sizes = encoder_hidden_layer_sizes
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.transform_algorithm = transform_algorithm
        self.solver = solver
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.dictionary_learning_rate = dictionary_learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.learning_rate_warmup = learning_rate_warmup
        self.learning_rate_decay = learning_rate_decay
        self.warmup = warmup
        self.adam_betas = adam_betas
        self.weight_decay = weight_decay
        self.encoder_weight_decay = encoder_weight_decay
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

    @property
    def threshold_(self) -> float:
        """Threshold, or the prior mean of a random one."""
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no threshold_ before fit.")
        return self._latent().threshold

    def _prior_scale(self) -> float:
        if self.prior_scale is not None:
            return self.prior_scale
        return 0.1 if self.base == "laplace" else sqrt(0.1)

    def _latent(self) -> ThresholdedLatent:
        scale, threshold = self._prior_scale(), self.threshold
        if threshold == 0 and self.threshold_prior is not None:
            raise ValueError(
                "ThresholdedVSC: threshold=0 has no Gamma prior. Use threshold_prior=None, or a positive threshold."
            )
        if threshold is None:
            choose = threshold_for if self.threshold_prior is None else gamma_threshold_for
            threshold = choose(LAWS[self.base], scale, self.activation_probability)
        return ThresholdedLatent(self.base, scale, threshold, self.threshold_prior, self.gradient == "straight_through")

    def _kl_weights(self) -> dict[str, float]:
        weights = {"kl": self.kl_weight}
        return weights if self.threshold_prior is None else weights | {"threshold_kl": self.threshold_kl_weight}

    def _noise_warmup(self):
        # The released code and the paper warm up Laplace bases only.
        return None if self.warmup == "auto" and self.base == "gaussian" else super()._noise_warmup()


class SpikeAndSlabVSC(_SparseVariationalCoder):
    """Variational sparse coding with a spike-and-slab posterior, whose gates are binary concrete variables.

    The encoder gives mean and scale of a Gaussian slab and the log-odds of a gate; a code is their product. Minimises::

        1/d |x - D(z)|^2 + kl_weight KL(q(z|x) || p(z))

    at the best of `n_draws` draws per row, where the divergence is that of the gate plus P(on) times that of the slab.
    Gates are 0 or 1, with the gradient of a sigmoid of falling `temperature`.

    Parameters
    ----------
    n_components : int, default=256
        Length l of a code.
    activation_probability : float, default=0.1
        Share of components that are on under the prior.
    temperature : tuple (start, end), default=(1.0, 0.5)
        Of the gates' gradient; lower has less bias and more variance.
    temperature_decay : float, default=0.9995
        Factor of the temperature per step, from start down to end.
    kl_weight : float, default=0.01
        Weight of the divergence, summed over components, beside the mean over features of the squared error: it
        stands for a likelihood of variance ``n_features * kl_weight / 2``.
    prior_scale : float or None, default=None
        Standard deviation of the slab under the prior; None: sqrt(0.1).
    n_draws : int, default=20
        Draws per row and step.
    draw_reduction : {"max", "mean", "iwae"}, default="max"
        How draws are reduced: the best one only, all alike, or by softmax weights of the bound.
    atom_norm : float or None, default=None
        Norm of every atom; None: free.
    encoder : {"mlp", "resnet", "conv", "fmnist", "celeba"} or callable, default="mlp"
        A callable ``(n_features, n_outputs) -> Module`` may build any network that works row by row; its ``n_outputs =
        3 * n_components`` numbers per row are mean and log variance of the slab and log-odds of the gate.
    encoder_hidden_layer_sizes : sequence of int, default=(512, 1024, 512, 256)
        Of "mlp" and "resnet".
    decoder : {"linear", "mlp", "conv", "fmnist", "celeba"} or callable, default="linear"
        A callable ``(n_features, n_components) -> Module`` may build any decoder that works row by row.
    hidden_layer_sizes : sequence of int, default=(1024,)
        Of ``decoder="mlp"``, from the code outwards.
    image_shape : tuple (height, width) or (channels, height, width), or None, default=None
        Of a row, for convolutional networks.
    transform_algorithm : {"auto", "solver", "top_k", "max_elbo", "mean", "median"}, default="auto"
        As in :class:`ThresholdedVSC`.
    solver : FISTA, ISTA or None, default=None
        For ``transform_algorithm="solver"``; None is ``FISTA(max_iter=1000, restart=True)``.
    optimizer : {"sgd", "adam"}, default="sgd"
        "sgd": Nesterov momentum 0.9 on the networks, their gradient limited to a norm of 1, and plain gradient steps on
        a linear dictionary. "adam": one rate for all parts.
    learning_rate : float, default=1e-2
        Of the networks.
    dictionary_learning_rate : float, default=0.5
        Step eta of a linear dictionary, ``A += eta mean(r z^T)`` with residuals r; for ``optimizer="sgd"``. A batch
        whose codes would make the step diverge gets a smaller one.
    learning_rate_schedule : {"cosine", "constant"}, default="cosine"
        Of the networks, over `max_iter` epochs; later epochs begin a new cycle.
    learning_rate_warmup : float, default=0.05
        Share of a cycle in which the rate rises from zero; for "cosine".
    learning_rate_decay : tuple (factor, n_epochs) or None, default=(0.99, 1)
        Multiply rates that have no other schedule, the dictionary's among them, by `factor` every `n_epochs` epochs.
    warmup : "auto", tuple (start, begin, end) or None, default="auto"
        Factor omega: `start` until step `begin`, then linear to 1 at step `end`; the slab is ``omega mean + (omega
        scale + sqrt(1 - omega)) noise``. "auto": 0.1 until 3.75 %, and 1 from 15 % of `max_iter` epochs on.
    adam_betas : tuple of two floats, default=(0.9, 0.999)
    weight_decay : float, default=1.6e-6
        Of the decoder, added to the gradient.
    encoder_weight_decay : float, default=0.0
    batch_size : int, default=100
        Rows per batch at most.
    max_iter : int, default=300
        Epochs.
    early_stopping : bool, default=False
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
    mean_ : ndarray of shape (n_features,)
        Mean of the rows of the first `fit` (of `fit_stream`: of its first chunk), a constant of the linear decoder; not
        there with other decoders.
    params_ : dict of ndarray
        All weights.
    history_ : dict of list
        As in :class:`ThresholdedVSC`.
    n_iter_, best_epoch_, n_steps_ : int
        Epochs run, epoch of the kept state, optimiser steps.
    resumed_epoch_ : int
        Epoch of the checkpoint that the fit went on from; 0 where it did not.
    n_dead_ : int
        Components whose draws were all zero in the last epoch; 0 while the noise is warmed up.
    noise_seed_ : int
        Of the noise that ``transform_algorithm="max_elbo"`` gives to every row.
    decoder_, encoder_ : Module
        Rebuilt from `params_` on access.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Tonolini, Jensen & Murray-Smith, Variational sparse coding, UAI 2020. Fallah & Rozell, ICML 2022, appendix D.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skvardict import SpikeAndSlabVSC
    >>> from skvardict.preprocessing import GlobalStandardizer
    >>> X = GlobalStandardizer().fit_transform(load_digits().data)
    >>> coder = SpikeAndSlabVSC(n_components=40, encoder_hidden_layer_sizes=(64,), max_iter=5, random_state=0).fit(X)
    >>> coder.sample_codes(X[:10], n_draws=3, random_state=0).shape
    (3, 10, 40)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SparseVariationalCoder._parameter_constraints,
        "temperature": [tuple],
        "temperature_decay": [Interval(Real, 0, 1, closed="right")],
    }

    def __init__(
        self,
        n_components=256,
        *,
        activation_probability=0.1,
        temperature=(1.0, 0.5),
        temperature_decay=0.9995,
        kl_weight=0.01,
        prior_scale=None,
        n_draws=20,
        draw_reduction="max",
        atom_norm=None,
        encoder="mlp",
        encoder_hidden_layer_sizes=(512, 1024, 512, 256),
        decoder="linear",
        hidden_layer_sizes=(1024,),
        image_shape=None,
        transform_algorithm="auto",
        solver=None,
        optimizer="sgd",
        learning_rate=1e-2,
        dictionary_learning_rate=0.5,
        learning_rate_schedule="cosine",
        learning_rate_warmup=0.05,
        learning_rate_decay=(0.99, 1),
        warmup="auto",
        adam_betas=(0.9, 0.999),
        weight_decay=1.6e-6,
        encoder_weight_decay=0.0,
        batch_size=100,
        max_iter=300,
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.activation_probability = activation_probability
        self.temperature = temperature
        self.temperature_decay = temperature_decay
        self.kl_weight = kl_weight
        self.prior_scale = prior_scale
        self.n_draws = n_draws
        self.draw_reduction = draw_reduction
        self.atom_norm = atom_norm
        self.encoder = encoder
        self.encoder_hidden_layer_sizes = encoder_hidden_layer_sizes
        self.decoder = decoder
        self.hidden_layer_sizes = hidden_layer_sizes
        self.image_shape = image_shape
        self.transform_algorithm = transform_algorithm
        self.solver = solver
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.dictionary_learning_rate = dictionary_learning_rate
        self.learning_rate_schedule = learning_rate_schedule
        self.learning_rate_warmup = learning_rate_warmup
        self.learning_rate_decay = learning_rate_decay
        self.warmup = warmup
        self.adam_betas = adam_betas
        self.weight_decay = weight_decay
        self.encoder_weight_decay = encoder_weight_decay
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

    def _prior_scale(self) -> float:
        return sqrt(0.1) if self.prior_scale is None else self.prior_scale

    def _latent(self) -> SpikeAndSlabLatent:
        return SpikeAndSlabLatent(self._prior_scale(), self.activation_probability)

    def _schedules(self) -> dict[str, Any]:
        check_numbers("temperature", self.temperature, "(start, end), both positive", lambda a, b: min(a, b) > 0)
        start, end = self.temperature
        return super()._schedules() | {"temperature": Decay(start, end, self.temperature_decay)}


def _check_count(name: str, value) -> None:
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, but got {value!r}.")
