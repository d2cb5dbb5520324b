"""FISTA, the accelerated proximal gradient method."""

from skvardict.solvers._proximal_gradient import ProximalGradientSolver


class FISTA(ProximalGradientSolver):
    """Fast iterative shrinkage-thresholding.

    Iterates ``z+ = prox(x - step * grad(x))`` at the momentum point
    ``x = z + (t_prev - 1) / t (z - z_prev)`` with ``t = (1 + sqrt(1 + 4 t_prev^2)) / 2``. For a convex problem
    the energy falls like ``2 |z_0 - z*|^2 / (step k^2)`` as long as ``step`` is at most 1 over the curvature.

    Parameters
    ----------
    max_iter : int, default=200
        Iterations after which a row is given up (its code is still returned).
    tol : float, default=1e-3
        With ``criterion="change"`` a row has converged when ``|z - z_prev| <= tol |z_prev|``; with ``"gap"``
        when its duality gap is at most `tol` times its objective.
    step_size : "auto", "backtracking" or float, default="auto"
        "auto" is 1 over a bound of the curvature, ``1 / (2 sigma_max^2 / d + 2 gamma / l + 2 beta / (n - 1))``,
        and backtracking where a decoder has no bound. Where the problem has a matrix for the Hessians of its rows
        (decoders with hidden layers, in training without the hinge), a step minimises a quadratic model with that
        matrix, and momentum works inside it; `restart` is then without effect. "backtracking" begins at 1 and only
        ever halves the step of a row. A number is used as it is, in the units of the package (the eta of Table 3 of
        Evtimova & LeCun).
    restart : bool, default=False
        Drop the momentum of a row when it points uphill (gradient scheme of O'Donoghue & Candes, 2015). Pays
        when `tol` is small.
    criterion : {"change", "gap"}, default="change"
        "gap" needs a linear decoder and ``beta=0``; it bounds the distance to the optimum and cannot be fooled
        by a small step.
    check_every : int or None, default=None
        Iterations between two tests for convergence; None leaves the choice to the problem (4 for a linear
        dictionary, where a test costs a good part of an iteration, else 1).

    References
    ----------
    Beck & Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sciences 2009, eq. 4.1-4.3.
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, section 3.

    Examples
    --------
    >>> import torch
    >>> from skvardict.energies import LinearProblem, Penalties
    >>> from skvardict.solvers import FISTA
    >>> atoms = torch.eye(3)
    >>> X = torch.tensor([[3.0, 0.5, 0.0]])
    >>> problem = LinearProblem(X, atoms, Penalties(alpha=2 / 3))  # 2/3 in package units: 1 in scikit-learn's
    >>> FISTA(tol=1e-6).solve(problem, torch.zeros(1, 3)).codes.round(decimals=3).tolist()
    [[2.0, 0.0, 0.0]]
    """

    _accelerated = True
