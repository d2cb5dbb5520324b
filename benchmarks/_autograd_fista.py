"""The plain implementation that speed is measured against: the same equations, every gradient by autograd.

One batch of VDL inference and one training step, written the way a paper's code is: an energy, a call of
`backward` per iteration, and a shrinkage. Used as the oracle of tests, too.
"""

from math import sqrt

import torch


def energy(X, codes, decoder, prediction, *, beta, std_threshold, gamma):
    """Return the smooth part of the energy of a batch, by its definition."""
    value = (decoder(codes) - X).square().mean(1).sum()
    if beta > 0:
        value = value + beta * (std_threshold - codes.std(dim=0)).clamp_min(0).square().sum()
    if gamma > 0:
        value = value + gamma * (codes - prediction).square().mean(1).sum()
    return value


def autograd_fista(
    X,
    decoder,
    start,
    prediction,
    *,
    alpha,
    beta=0.0,
    std_threshold=0.5,
    gamma=0.0,
    step_size=0.5,
    max_iter=200,
    tol=1e-3,
    check_every=1,
    positive=True,
):
    """Return codes after FISTA; a row that has converged is frozen. Also the number of iterations run."""
    codes = momentum_point = start.clone()
    active = torch.ones(len(X), 1, dtype=torch.bool, device=X.device)
    t = 1.0
    for iteration in range(1, max_iter + 1):
        leaf = momentum_point.detach().requires_grad_()
        value = energy(X, leaf, decoder, prediction, beta=beta, std_threshold=std_threshold, gamma=gamma)
        (gradient,) = torch.autograd.grad(value, leaf)
        with torch.no_grad():
            moved = momentum_point - step_size * gradient
            threshold = step_size * alpha
            moved = (moved - threshold).clamp_min(0) if positive else torch.nn.functional.softshrink(moved, threshold)
            new = torch.where(active, moved, codes)
            t_next = (1 + sqrt(1 + 4 * t * t)) / 2
            momentum_point = torch.where(active, new + (t - 1) / t_next * (new - codes), new)
            if iteration % check_every == 0:
                change = (new - codes).norm(dim=1)
                met = change <= tol * codes.norm(dim=1)
                newly = active.squeeze(1) & met
                active = active & ~met[:, None]
                momentum_point[newly] = new[newly]
            codes, t = new, t_next
        if not active.any():
            break
    return codes, iteration
