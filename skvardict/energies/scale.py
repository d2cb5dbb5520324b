"""Conversion between the package's units and those of scikit-learn's dictionary learning."""


def to_sklearn_alpha(alpha: float, n_features: int) -> float:
    """Return the `alpha` of ``1/2 |x - z W|^2 + alpha |z|_1`` that gives the same codes.

    This package weighs the *mean* over features of the squared error; multiplying its energy
    ``1/d |x - z W|^2 + alpha |z|_1`` by ``d / 2`` gives scikit-learn's. The same factor takes every other
    weight (beta, gamma / l) to the units of the papers' text; step sizes are divided by it.

    Parameters
    ----------
    alpha : float
        Sparsity weight in the units of this package.
    n_features : int
        Number of features d.

    Examples
    --------
    >>> from skvardict.energies import to_sklearn_alpha
    >>> to_sklearn_alpha(0.02, n_features=784)
    7.84
    """
    return alpha * n_features / 2


def from_sklearn_alpha(alpha: float, n_features: int) -> float:
    """Return this package's `alpha` for an `alpha` of ``1/2 |x - z W|^2 + alpha |z|_1``.

    The inverse of :func:`to_sklearn_alpha`.

    Examples
    --------
    >>> from skvardict.energies import from_sklearn_alpha
    >>> from_sklearn_alpha(7.84, n_features=784)
    0.02
    """
    return alpha * 2 / n_features
