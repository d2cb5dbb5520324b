"""What goes wrong slowly in training, read from the history."""

from typing import NamedTuple

from skvardict.training.history import History

# On digits, after 60 epochs: VDL without the hinge 0.33 and 6, with it 0.65 and 2.6; SDL without norm 0.47 and 3.6.
_CODE_SHRINKAGE, _DECODER_GROWTH = 0.5, 2.5
_DEAD_SHARE = 0.5
_UNCONVERGED_SHARE = 0.5
# VDL-NL on MNIST by the fixed step of its paper: from epoch 30 on twice as many rows every four epochs, with weights
# 1.4 times those of the fewest iterations. 25 fits whose step was not too long stay below both.
_OUTGROWN_SHARE, _MORE_ITERATIONS, _MORE_WEIGHT = 0.002, 1.25, 1.2
_FEWEST_EPOCHS = 3  # of a run whose end is judged
FEWEST_EPOCHS_OF_ENCODER = 5  # before which it is not expected to have learnt its part
_STILL_TO_GAIN, _STILL_TO_GAIN_SCHEDULED = 0.1, 0.5  # what as many epochs again would gain, relative


class Finding(NamedTuple):
    """A kind of trouble, one of those of :func:`find_trouble`, and the numbers that show it."""

    kind: str
    numbers: str


def find_trouble(history: History, n_components: int, n_epochs: int = 1) -> list[Finding]:
    """Return what was wrong in each of the last `n_epochs` epochs, with the numbers of the last.

    - dead: more than half of the components, not all, were never active;
    - unpredicted: the encoder leaves components unused that are active in the codes it is trained on, more than half of
      all;
    - shrinking: the L1 norm of codes has fallen below half of its maximum while the decoder's weights have grown by a
      factor of 2.5 since, and components deviate half as much: the penalty is paid by scale, not by sparsity;
    - saturated: the solver stopped at its limit on more than half of the rows;
    - outgrown: it stops there on more and more rows, and needs more and more iterations, as the decoder's weights grow,
      which is what a fixed step does that has become too long for them.

    Parameters
    ----------
    history : dict of list
    n_components : int
    n_epochs : int
        No finding comes from fewer epochs than these.
    """
    length = len(next(iter(history.values()), []))
    if length < n_epochs:
        return []
    found = [_find_in(history, n_components, epoch) for epoch in range(length - n_epochs, length)]
    lasting = set.intersection(*({finding.kind for finding in findings} for findings in found))
    return [finding for finding in found[-1] if finding.kind in lasting]


def find_undertraining(history: History, n_epochs: int, *, scheduled: bool = False) -> str | None:
    """Return by how much the energy was still falling at the end of a run of `n_epochs`; None where it had settled.

    The pace is that of the last quarter of the run: as many epochs again, at this pace, would lower the energy by more
    than a tenth; by more than a half, where rates have followed a schedule to its end, after which nothing would go on.
    Runs of fewer than three epochs have no pace.
    """
    name = "validation_energy" if "validation_energy" in history else "energy"
    energies = history.get(name, [])[-n_epochs:]
    if n_epochs < _FEWEST_EPOCHS or len(energies) < n_epochs:
        return None
    span = max(1, n_epochs // 4)
    before, last = energies[-1 - span], energies[-1]
    pace = (before - last) / (span * abs(before)) if before else 0.0
    if not pace * n_epochs > (_STILL_TO_GAIN_SCHEDULED if scheduled else _STILL_TO_GAIN):
        return None
    return f"the {name.replace('_', ' ')} is still falling, by {100 * pace:.2g} % an epoch ({before:.4g} to {last:.4g})"


def _find_in(history: History, n_components: int, epoch: int) -> list[Finding]:
    findings = []
    if "n_dead" in history:
        n_dead = history["n_dead"][epoch]
        if _DEAD_SHARE * n_components < n_dead < n_components:
            findings.append(Finding("dead", f"{n_dead:.0f} of {n_components} components were never active"))
        unpredicted = history.get("n_dead_encoder", history["n_dead"])[epoch] - n_dead
        has_learnt = len(history["n_dead"]) >= FEWEST_EPOCHS_OF_ENCODER
        if has_learnt and unpredicted > _DEAD_SHARE * n_components:
            numbers = f"the encoder leaves {unpredicted:.0f} of {n_components} components unused that it should use"
            findings.append(Finding("unpredicted", numbers))
    if "l1" in history and "decoder_norm" in history:
        l1, norms = history["l1"][: epoch + 1], history["decoder_norm"][: epoch + 1]
        peak = max(range(len(l1)), key=l1.__getitem__)
        if (
            l1[-1] < _CODE_SHRINKAGE * l1[peak]
            and norms[-1] > _DECODER_GROWTH * norms[peak]
            and _has_narrowed(history, peak, epoch)
        ):
            numbers = (
                f"the L1 norm of codes has fallen from {l1[peak]:.3g} to {l1[-1]:.3g} since epoch {peak + 1}, while "
                f"the norm of the decoder's weights grew from {norms[peak]:.3g} to {norms[-1]:.3g}"
            )
            findings.append(Finding("shrinking", numbers))
    if "solver_n_unconverged" in history and "n_rows" in history:
        n_unconverged, n_rows = history["solver_n_unconverged"][epoch], history["n_rows"][epoch]
        if n_unconverged > _UNCONVERGED_SHARE * n_rows:
            numbers = f"the solver did not converge on {n_unconverged:.0f} of {n_rows:.0f} rows"
            findings.append(Finding("saturated", numbers))
        elif n_unconverged > _OUTGROWN_SHARE * n_rows and (growth := _find_growth(history, epoch)):
            numbers = f"the solver did not converge on {n_unconverged:.0f} of {n_rows:.0f} rows; {growth}"
            findings.append(Finding("outgrown", numbers))
    return findings


def _find_growth(history: History, epoch: int) -> str:
    """Return how iterations have grown with the decoder since they were fewest; nothing where they have not."""
    if not {"solver_n_iter", "decoder_norm"} <= history.keys():
        return ""
    n_iter, norms = history["solver_n_iter"][: epoch + 1], history["decoder_norm"][: epoch + 1]
    fewest = min(range(len(n_iter)), key=n_iter.__getitem__)
    if not (n_iter[-1] > _MORE_ITERATIONS * n_iter[fewest] and norms[-1] > _MORE_WEIGHT * norms[fewest]):
        return ""
    return (
        f"since epoch {fewest + 1} its iterations have grown from {n_iter[fewest]:.3g} to {n_iter[-1]:.3g} a row, and "
        f"the norm of the decoder's weights from {norms[fewest]:.3g} to {norms[-1]:.3g}"
    )


def _has_narrowed(history: History, since: int, epoch: int) -> bool:
    """Return whether components deviate half as much; weights that begin small grow without it."""
    deviations = history.get("component_std")
    return deviations is None or deviations[epoch] < _CODE_SHRINKAGE * deviations[since]
