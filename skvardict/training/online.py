"""Online dictionary learning: atoms from running sums over codes and rows, no gradient (Mairal et al. 2010)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import exp, log
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvardict._sklearn import Interval
from skvardict._utils import ranks
from skvardict._utils.parameters import Part, parameter, with_parameters
from skvardict.functional import (
    LateAnswer,
    Weight,
    atom_sweep_,
    is_on,
    project_atoms,
    ridge_atoms,
    ridge_system,
    stack_weights,
    to_host,
)
from skvardict.training.optimizers import Adam, GradientSteps
from skvardict.training.protocol import ParameterGroup, Position, Statistics, Step

_FLOOR = 4  # rows per atom that the sums remember at least
_IDLE = 8  # rows per atom without which an atom counts as dead


@with_parameters
class OnlineUpdate(Part):
    """Atoms of a linear decoder from sufficient statistics of the codes of recent rows.

    After every batch of codes Z of rows X, ``A <- r A + Z^T Z`` and ``B <- r B + Z^T X``, where r forgets rows beyond a
    window. The atoms are then moved to what these sums ask for:

    - of fixed norm (``atom_norm``): one pass of block coordinate descent over the atoms;
    - with weight decay w: ``(A + n w d / 2 I) W = B``, n being the rows in the window;
    - else, as in variance-regularised models: ``(A + m I) W = B + m W_old``, m being `damping` times the mean of A's
      diagonal.

    Non-negative atoms (``positive_dict=True``) make one pass of projected block coordinate descent in all three cases.

    Atoms that no code has used for a while are replaced by rows with large errors. All that is kept are sums over rows:
    uneven batches, streams and resumed runs are the same arithmetic. An encoder is trained by Adam beside it.

    References
    ----------
    Mairal, Bach, Ponce & Sapiro, Online learning for matrix factorization and sparse coding, JMLR 2010, algorithms 1
    and 2 and section 3.4.

    Examples
    --------
    >>> from skvardict.training import OnlineUpdate
    >>> OnlineUpdate(window=0.5)
    OnlineUpdate(window=0.5)
    """

    window: float = parameter(
        default=0.07,
        accepts=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        text="Share of the rows seen so far over which the sums reach, but at least four rows per atom: short at "
        "first, when codes are poor, and longer as they get better.",
        kw_only=False,
    )
    damping: float = parameter(
        default=0.1,
        accepts=[Interval(Real, 0, None, closed="neither")],
        kind="float",
        text="How much atoms without norm or weight decay hold on to where they were.",
    )
    encoder_optimizer: Adam | None = parameter(
        default=None,
        accepts=[Adam, None],
        kind="Adam or None",
        text="Trains the encoder, where there is one; None is ``Adam(1e-3)``.",
    )

    def start(self, groups: Iterable[ParameterGroup]) -> "OnlineSteps":
        """Return what steps the parameters of `groups`.

        Raises
        ------
        ValueError
            If the decoder is not linear.
        """
        self.check()
        by_part = {group.part: group for group in groups}
        decoder = by_part["decoder"]
        if not decoder.is_dictionary:
            raise ValueError("OnlineUpdate moves the atoms of a linear decoder. Use decoder='linear', or Adam().")
        encoder = by_part.get("encoder")
        inner = None if encoder is None else (self.encoder_optimizer or Adam(1e-3)).start([encoder])
        return OnlineSteps(decoder, self.window, self.damping, inner)


class OnlineSteps:
    """Running sums and the steps that atoms make by them.

    Parameters
    ----------
    decoder : ParameterGroup
    window, damping : float
    encoder_steps : GradientSteps or None
    """

    is_settled = True

    def __init__(self, decoder: ParameterGroup, window: float, damping: float, encoder_steps: GradientSteps | None):
        (self.components,) = decoder.parameters.values()
        self.group, self.window, self.damping, self.encoder_steps = decoder, window, damping, encoder_steps
        n_components, _ = self.components.shape
        self.gram = self.components.new_zeros(n_components, n_components).detach()
        self.cross = torch.zeros_like(self.components).detach()
        self.idle = self.components.new_zeros(n_components).detach()
        self.rows = torch.zeros(2, dtype=torch.float64)  # seen, and in the window
        self.n_replaced = 0
        self._has_dead = LateAnswer()

    def advance(self, position: Position) -> None:
        """Set the rates of the encoder's step."""
        if self.encoder_steps is not None:
            self.encoder_steps.advance(position)

    def step(self, made: Step, X: Tensor, generator: torch.Generator) -> None:
        """Add the batch to the sums and move the atoms; step down the gradient of the encoder's loss."""
        if made.statistics is None:
            raise ValueError("OnlineUpdate works from statistics of codes, but this model gives none. Use Adam().")
        if self.encoder_steps is not None:
            self.encoder_steps.step(made._replace(losses={"encoder": made.losses["encoder"]}), X, generator)
        with torch.no_grad():
            self._add(made.statistics)
            self._replace_dead(made.statistics.codes, X, generator)
            self._move_atoms()

    def report(self) -> dict[str, float]:
        """Return what happened since the last call, for the history."""
        n_replaced, self.n_replaced = self.n_replaced, 0
        return {"n_replaced": n_replaced}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the sums, and the state of the encoder's optimiser."""
        sums = {"gram": self.gram, "cross": self.cross, "idle": self.idle, "rows": self.rows}
        arrays = {f"online.{name}": value.numpy().copy() for name, value in to_host(sums).items()}
        return arrays if self.encoder_steps is None else arrays | self.encoder_steps.to_arrays()

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the state to what :meth:`to_arrays` returned."""
        for name in ("gram", "cross", "idle", "rows"):
            getattr(self, name).copy_(torch.from_numpy(np.array(arrays[f"online.{name}"])))
        if self.encoder_steps is not None:
            rest = {name: array for name, array in arrays.items() if not name.startswith("online.")}
            self.encoder_steps.load_arrays(rest)

    def state_shapes(self) -> list[dict[str, tuple[int, ...]]]:
        """Return shapes by name: first of what is always there, then of the moments of every parameter."""
        n_components, n_features = self.components.shape
        own = {
            "online.gram": (n_components, n_components),
            "online.cross": (n_components, n_features),
            "online.idle": (n_components,),
            "online.rows": (2,),
        }
        always, *moments = [{}] if self.encoder_steps is None else self.encoder_steps.state_shapes()
        return [own | always, *moments]

    def moments(self) -> dict[str, Tensor]:
        """Return the sums, and the state of the encoder's optimiser, by name."""
        sums = {f"online.{name}": getattr(self, name) for name in ("gram", "cross", "idle", "rows")}
        return sums if self.encoder_steps is None else sums | self.encoder_steps.moments()

    def together(
        self, members: Sequence["OnlineSteps"], leaf_of: Callable[[Tensor], Tensor], moments: Mapping[str, Tensor]
    ) -> "OnlineSteps":
        """Return the steps of several models as one; see :meth:`GradientSteps.together`."""
        return _OnlineStepsTogether(members, leaf_of, moments)

    def _add(self, new: Statistics) -> None:
        n_new = ranks.n_rows(new.codes.shape[-2])
        gram, cross = ranks.all_sums(new.gram, new.cross)
        kept = self._forget(n_new)
        self.gram.mul_(kept).add_(gram)
        self.cross.mul_(kept).add_(cross)
        self.idle.add_(n_new).mul_((gram.diagonal(dim1=-2, dim2=-1) == 0).view_as(self.idle))

    def _forget(self, n_new: int) -> Weight:
        """Count `n_new` rows; return what is left of the sums."""
        n_seen, mass = self.rows.tolist()
        kept = forgetting(n_seen, n_new, self.window, _FLOOR * self.components.shape[-2])
        self.rows.copy_(torch.tensor([n_seen + n_new, kept * mass + n_new], dtype=torch.float64))
        return kept

    def _replace_dead(self, codes: Tensor, X: Tensor, generator: torch.Generator) -> None:
        """Put badly reconstructed rows in the place of atoms that codes no longer use."""
        is_dead = self.idle >= _IDLE * len(self.components)
        if not self._has_dead(is_dead.any()):
            return
        dead = is_dead.nonzero().squeeze(1)
        X = torch.where(X.isnan(), codes @ self.components, X)  # missing entries, where a model allows them
        error = ranks.whole((X - codes @ self.components).square().sum(1))
        dead = dead[: int((error > 0).sum())]
        if len(dead) == 0:
            return
        chosen = torch.multinomial(error.cpu(), len(dead), generator=generator).to(X.device)
        rows = ranks.pick(X, chosen)
        norms = torch.linalg.vector_norm(self.components, dim=1)
        norm = self.group.atom_norm or norms[norms > 0].median()
        self.components[dead] = project_atoms(rows, norm, positive=self.group.positive)
        self.gram[dead], self.gram[:, dead], self.cross[dead], self.idle[dead] = 0, 0, 0, 0
        self.n_replaced += len(dead)

    def _settings(self) -> tuple[Weight | None, Weight, Weight, Weight]:
        """Return norm and weight decay of the atoms, rows in the window, and damping."""
        return self.group.atom_norm, self.group.weight_decay, float(self.rows[1]), self.damping

    def _move_atoms(self) -> None:
        atoms, d = self.components, self.components.shape[-1]
        atom_norm, weight_decay, mass, damping = self._settings()
        if atom_norm is not None:
            atom_sweep_(atoms, self.gram, self.cross, atom_norm, positive=self._is_positive)
        elif is_on(weight_decay):
            self._move_to_ridge(weight_decay * mass * d / 2)
        else:
            diagonal = self.gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
            weight = (damping * diagonal).clamp_min(torch.finfo(diagonal.dtype).tiny ** 0.5)
            self._move_to_ridge(weight, atoms.clone())

    @property
    def _is_positive(self) -> bool:
        return self.group.positive

    def _move_to_ridge(self, weight: Tensor | float, previous: Tensor | None = None) -> None:
        """Move atoms to the minimum with a ridge, or around it if they are to be non-negative."""
        if not self._is_positive:
            self.components.copy_(ridge_atoms(self.gram, self.cross, weight, previous))
            return
        gram, cross = ridge_system(self.gram, self.cross, weight, previous)
        atom_sweep_(self.components, gram, cross, positive=True)


class _OnlineStepsTogether(OnlineSteps):
    """Sums and atoms of several models, stacked; counts, settings and dead atoms are those of the members."""

    def __init__(
        self, members: Sequence[OnlineSteps], leaf_of: Callable[[Tensor], Tensor], moments: Mapping[str, Tensor]
    ):
        self.members = members
        self.components = leaf_of(members[0].components)
        self.gram, self.cross, self.idle = (moments[f"online.{name}"] for name in ("gram", "cross", "idle"))
        encoders = [member.encoder_steps for member in members if member.encoder_steps is not None]
        self.encoder_steps = encoders[0].together(encoders, leaf_of, moments) if encoders else None
        self._has_dead = LateAnswer()

    @property
    def _is_positive(self) -> bool:
        return self.members[0].group.positive

    def _forget(self, n_new: int) -> Weight:
        return self._stack([member._forget(n_new) for member in self.members])

    def _replace_dead(self, codes: Tensor, X: Tensor, generators: Any) -> None:
        have_dead = (self.idle >= _IDLE * codes.shape[-1]).flatten(1).any(1)
        for index in have_dead.nonzero().squeeze(1).tolist() if self._has_dead(have_dead.any()) else ():
            self.members[index]._replace_dead(codes[index], X[index], generators[index])

    def _settings(self) -> tuple[Weight | None, Weight, Weight, Weight]:
        norms, *others = zip(*(member._settings() for member in self.members), strict=True)
        decay, mass, damping = (self._stack(values) for values in others)
        return None if norms[0] is None else self._stack(norms), decay, mass, damping

    def _stack(self, values: Sequence[Any]) -> Weight:
        return stack_weights(values, self.components)


def forget_sums(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the state of a session with sums over no rows, where it has sums."""
    return {
        name: np.zeros_like(array) if name.startswith("optimizer.online.") else array for name, array in state.items()
    }


def forgetting(n_seen: float, n_new: int, window: float, floor: float) -> float:
    """Return what is left of sums over `n_seen` rows when `n_new` come: ``exp(-integral ds / max(floor, window s))``.

    The factor of several batches is that of the one they make up, however they are cut.
    """
    turn, end = floor / window, n_seen + n_new
    short = (min(end, turn) - min(n_seen, turn)) / floor
    long = log(max(end, turn) / max(n_seen, turn)) / window
    return exp(-short - long)
