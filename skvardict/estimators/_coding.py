"""What estimators do once they are fitted: from rows to codes and from codes to rows, chunk by chunk."""

from abc import abstractmethod
from copy import deepcopy
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from skvardict._sklearn import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from skvardict._utils.defaults import RunsWithDefaults
from skvardict._utils.messages import warn
from skvardict._utils.state import of_one_model
from skvardict._utils.types import Array, ArrayLike
from skvardict.energies import observed_reconstruction, reconstruction
from skvardict.estimators._fitted import fitted_components, fitted_model
from skvardict.estimators._fixed_dictionary import RowCodes
from skvardict.functional import join_signs
from skvardict.metrics import r2
from skvardict.rows import Rows, as_numbers, for_output, has_columns


class Encoding(NamedTuple):
    """Codes of rows, and how they were reached.

    Attributes
    ----------
    codes : ndarray or Tensor of shape (n_samples, n_components)
    n_iter : ndarray or Tensor of shape (n_samples,)
        Iterations of the solver; 0 where the encoder gave the code.
    converged : ndarray or Tensor of shape (n_samples,)
        Whether the solver's criterion was met; true where the encoder gave the code.
    """

    codes: Array
    n_iter: Array
    converged: Array


class FittedCoder(RunsWithDefaults, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """What an estimator does with its fitted model; a subclass says how it is built and how it codes rows."""

    _allows_missing = False  # whether entries of X may be NaN
    n_components: int
    split_sign: bool = False
    sparse_output: bool = False
    device: str | torch.device
    n_features_in_: int

    @abstractmethod
    def _build_model(self, n_features: int, generator: torch.Generator):
        """Return the model with fresh parts, drawn from `generator`."""

    @abstractmethod
    def _encode_block(self, model, X: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return codes, iterations and convergence (None: no solver ran) of a block of rows."""

    @overload
    def transform(self, X: Tensor, out: Tensor | None = None) -> Tensor: ...

    @overload
    def transform(self, X: ArrayLike, out: np.ndarray | None = None) -> np.ndarray: ...

    @of_one_model
    def transform(self, X: ArrayLike, out: Array | None = None) -> Array:
        """Return the codes of the rows of `X`; deterministic, and row by row.

        Rows are read in chunks: with a memory map as `X` and another as `out`, memory does not grow with their number.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        out : ndarray, memory map or Tensor of shape (n_samples, n_components), optional
            Where the codes are written; of the kind of `X`. It is returned.

        Returns
        -------
        codes : ndarray or Tensor of shape (n_samples, n_components)
            Twice as many columns with ``split_sign=True``: positive parts, then negative parts. With
            ``sparse_output=True``, a scipy matrix in CSR format.
        """
        codes = self._encode(self._rows(X), out, split_sign=self.split_sign, sparse_output=self.sparse_output)[0]
        return for_output(self, codes)

    @of_one_model
    def encode(self, X: ArrayLike) -> Encoding:
        """Return codes together with the solver's iterations and convergence per row.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        Encoding
            Its codes are those of :meth:`transform`.
        """
        rows = self._rows(X)
        codes, n_iter, converged = self._encode(rows, split_sign=self.split_sign, sparse_output=self.sparse_output)
        if n_iter is None:
            n_iter, converged = rows.new_rows(dtype=torch.int64), rows.new_rows(dtype=torch.bool)
            n_iter[:], converged[:] = 0, True
        return Encoding(codes, n_iter, converged)

    @overload
    def inverse_transform(self, codes: Tensor) -> Tensor: ...

    @overload
    def inverse_transform(self, codes: ArrayLike) -> np.ndarray: ...

    @of_one_model
    def inverse_transform(self, codes: ArrayLike) -> Array:
        """Return the decoder's reconstructions of `codes`.

        Parameters
        ----------
        codes : array-like, Tensor or scipy sparse matrix of shape (n_samples, n_components)
            What `transform` returns: with ``split_sign=True``, positive and negative parts side by side.

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        return self._decode(check_codes(self, codes), split_sign=self.split_sign)

    @overload
    def reconstruct(self, X: Tensor) -> Tensor: ...

    @overload
    def reconstruct(self, X: ArrayLike) -> np.ndarray: ...

    @of_one_model
    def reconstruct(self, X: ArrayLike) -> Array:
        """Return ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        X_reconstructed : ndarray or Tensor of shape (n_samples, n_features)
        """
        return self._reconstruct(self._rows(X))

    @overload
    def reconstruction_error(self, X: Tensor) -> Tensor: ...

    @overload
    def reconstruction_error(self, X: ArrayLike) -> np.ndarray: ...

    @of_one_model
    def reconstruction_error(self, X: ArrayLike) -> Array:
        """Return ``1/d |x - D(z(x))|^2`` of every row x, z being the codes of :meth:`transform`.

        Rows unlike those of the fit have larger errors. The mean over rows is the "reconstruction" of `energy`, where
        there is one; over the variance of `X` it is one less :meth:`score`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)

        Returns
        -------
        errors : ndarray or Tensor of shape (n_samples,)
            Mean squares over features.

        Examples
        --------
        >>> import numpy as np
        >>> from skvardict import StandardDictionaryLearning
        >>> X = np.random.default_rng(0).standard_normal((100, 8))
        >>> coder = StandardDictionaryLearning(4, max_iter=2, random_state=0).fit(X)
        >>> coder.reconstruction_error(X).shape
        (100,)
        """
        rows = self._rows(X)
        codes = torch.as_tensor(self._encode(rows)[0])
        decoder = self._model(rows.device, rows.dtype).decoder
        errors, measure = rows.new_rows(), observed_reconstruction if self._allows_missing else reconstruction
        with torch.no_grad():
            for where, block in rows.slices():
                errors[where] = rows.give_back(measure(block, decoder(codes[where].to(block.device))))
        return errors

    @of_one_model
    def score(self, X: ArrayLike, y: ArrayLike | None = None) -> float:
        """Return R^2 of the reconstruction of `y` from the codes of `X`; 1 is perfect.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, n_features)
        y : array-like of shape (n_samples, n_features) or (n_samples,), optional
            Rows to reconstruct, e.g. clean versions of noisy `X`; by default `X`. One-dimensional labels are
            ignored.

        Returns
        -------
        r2 : float
            ``1 - |y - D(z(X))|^2 / |y - mean(y)|^2`` over all entries.
        """
        rows = target = self._rows(X)
        if y is not None and has_columns(y):
            target = Rows.check_columns(self, y, "y")
            if len(target) != len(rows):
                raise ValueError(f"y has {len(target)} rows, but X has {len(rows)}. Pass one target per row.")
        return self._r2(target, self._reconstruct(rows))

    @property
    def components_(self) -> np.ndarray:
        """Atoms as rows, (n_components, n_features); for a decoder with hidden layers, its response to unit codes.

        The response leaves biases and ReLUs out (``W_1 W_2 ...``); for a decoder built by the user it is
        ``D(e_i) - D(0)``.
        """
        if "params_" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no components_ before fit.")
        return fitted_components(self)

    @property
    def decoder_(self) -> nn.Module:
        """The decoder as a module on the CPU, rebuilt from `params_`."""
        return deepcopy(self._model(torch.device("cpu")).decoder)

    @property
    def encoder_(self) -> nn.Module | None:
        """The encoder as a module on the CPU, rebuilt from `params_`; None where there is none."""
        return deepcopy(self._model(torch.device("cpu")).encoder)

    @property
    def _n_features_out(self) -> int:
        return 2 * self.n_components if self.split_sign else self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return "params_" in vars(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32", "float64"]
        return tags

    def _rows(self, X) -> Rows:
        """Return the rows of `X`, checked against those of the fit."""
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)
        return Rows.check(self, X, reset=False)

    def _model(self, device: torch.device, dtype: torch.dtype | None = None):
        """Return the model with the fitted parameters; in their own dtype by default."""
        return fitted_model(self, device, dtype)

    def _encode(
        self, rows: Rows, out=None, *, split_sign: bool = False, sparse_output: bool = False
    ) -> tuple[Any, Any, Any]:
        """Return codes of `rows`, in `out` if it is given, iterations and convergence (None: no solver ran).

        Warn where the solver did not converge.
        """
        model = self._model(rows.device, rows.dtype)
        if rows.are_few and out is None and not split_sign and not sparse_output:
            with torch.no_grad():
                parts = self._encode_block(model, rows.read())
            codes, n_iter, converged = (None if part is None else rows.own(part) for part in parts)
        else:
            gathered = RowCodes(rows, self.n_components, split_sign=split_sign, sparse_output=sparse_output, out=out)
            codes, n_iter, converged = self._encode_in_chunks(model, rows, gathered)
        n_unconverged = 0 if converged is None else int((~converged).sum())
        if n_unconverged:
            warn(
                f"{type(self).__name__}: the solver did not converge on {n_unconverged} of {len(rows)} rows. "
                "Raise max_iter or tol of solver=.",
                ConvergenceWarning,
            )
        return codes, n_iter, converged

    def _encode_in_chunks(self, model, rows: Rows, gathered: RowCodes) -> tuple[Any, Any, Any]:
        n_iter = converged = None
        for where, (part, part_n_iter, part_converged) in rows.in_chunks(lambda X: self._encode_block(model, X)):
            gathered.put(where, part)
            if part_n_iter is not None and part_converged is not None:
                if n_iter is None or converged is None:
                    n_iter, converged = rows.new_rows(dtype=torch.int64), rows.new_rows(dtype=torch.bool)
                n_iter[where], converged[where] = rows.give_back(part_n_iter), rows.give_back(part_converged)
        return gathered.result(), n_iter, converged

    def _r2(self, target: Rows, reconstruction: Array) -> float:
        return float(r2(target.X, reconstruction))

    def _reconstruct(self, rows: Rows):
        return self._decode(Rows(self._encode(rows)[0], device=self.device))

    def _decode(self, codes: Rows, *, split_sign: bool = False):
        decoder = self._model(codes.device, codes.dtype).decoder
        X = codes.new_rows(self.n_features_in_)
        for where, part in codes.in_chunks(lambda block: decoder(join_signs(block) if split_sign else block)):
            X[where] = codes.give_back(part)
        return X


def check_codes(estimator, codes) -> Rows:
    """Return `codes` as rows.

    Raises
    ------
    TypeError
        If they are no real numbers.
    ValueError
        If they are not of shape (n_samples, n_components).
    """
    name = type(estimator).__name__
    codes = codes.toarray() if issparse(codes) else codes
    codes = as_numbers(codes, f"{name}.inverse_transform: codes", allow_masked=False)
    if codes.ndim != 2 or codes.shape[1] != estimator._n_features_out:
        raise ValueError(
            f"{name}.inverse_transform expects codes of shape (n_samples, {estimator._n_features_out}), but got "
            f"{tuple(codes.shape)}. Pass what transform returns."
        )
    return Rows(codes, device=estimator.device, name="codes", owner=name)
