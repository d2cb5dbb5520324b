"""Rows times a power of two, with alpha times the same, have codes times that power, bit by bit: at every scale."""

import warnings

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning, metrics, sparse_encode
from skvardict.energies import L1, Coupling, ElasticNet, GroupLasso, LinearProblem, MaskedLinearProblem
from skvardict.functional import is_small_change, row_norms, unit_power
from skvardict.solvers import ADMM, FISTA, ISTA

ALPHA = 0.02
SCALES = [2.0**-95, 2.0**-80, 2.0**-60, 2.0**60, 2.0**80, 2.0**110]
SOLVERS = [FISTA(), FISTA(criterion="gap", max_iter=500), ISTA(max_iter=500), FISTA(restart=True), ADMM(50)]


def problem(scale=1.0, penalty=L1, masked=False, coupled=False, alpha=ALPHA, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(40, 16, generator=generator) * scale
    atoms = torch.nn.functional.normalize(torch.randn(24, 16, generator=generator))
    prediction = torch.rand(40, 24, generator=generator) * scale
    coupling = Coupling(0.5, prediction.to(dtype)) if coupled else None
    if masked:
        X[torch.rand(40, 16, generator=generator) < 0.2] = torch.nan
    kind = MaskedLinearProblem if masked else LinearProblem
    settings = {"group_size": 2} if penalty is GroupLasso else {}
    return kind(X.to(dtype), atoms.to(dtype), penalty(alpha * scale, **settings), coupling)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_codes_scale_with_the_rows(solver, scale):
    expected = solver.solve(problem(), torch.zeros(40, 24))
    found = solver.solve(problem(scale), torch.zeros(40, 24))
    assert expected.converged.all()
    assert torch.equal(found.n_iter, expected.n_iter)
    assert torch.equal(found.codes / scale, expected.codes)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(
    "kind", [{"masked": True}, {"coupled": True}, {"penalty": GroupLasso}, {"masked": True, "coupled": True}], ids=str
)
def test_codes_scale_with_the_rows_of_other_problems(kind, scale):
    expected = FISTA().solve(problem(**kind), torch.zeros(40, 24))
    found = FISTA().solve(problem(scale, **kind), torch.zeros(40, 24))
    assert torch.equal(found.n_iter, expected.n_iter)
    assert torch.equal(found.codes / scale, expected.codes)


def test_rows_of_all_scales_are_coded_together_as_alone():
    scales = torch.logspace(-85, 85, 40, base=2).log2().round().exp2()[:, None]
    one, expected = problem(alpha=0.0), FISTA(tol=1e-2).solve(problem(alpha=0.0), torch.zeros(40, 24))
    together = LinearProblem(one.X * scales, one.components, L1(0.0))
    found = FISTA(tol=1e-2).solve(together, torch.zeros(40, 24))
    assert torch.equal(found.n_iter, expected.n_iter)
    assert torch.equal(found.codes / scales, expected.codes)


@pytest.mark.parametrize("scale", [1e-18, 1e-10, 1e-5, 1e-3, 1e3, 1e5, 1e10, 1e18])
def test_small_and_large_atoms_are_no_sign_of_convergence(scale):
    one = problem()
    scaled = LinearProblem(one.X, one.components * scale, L1(ALPHA * scale))
    expected, found = (ISTA(max_iter=500).solve(p, torch.zeros(40, 24)) for p in (one, scaled))
    assert torch.allclose(found.codes * scale, expected.codes, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("alpha", [1e-2, 1e-4, 1e-6, 1e-7])
@pytest.mark.parametrize("penalty", [L1, ElasticNet])
def test_the_gap_of_single_precision_is_that_of_double(alpha, penalty):
    single, double = (problem(alpha=alpha, penalty=penalty, dtype=dtype) for dtype in (torch.float32, torch.float64))
    double.X, double.components = single.X.double(), single.components.double()
    codes = FISTA(max_iter=300).solve(single, torch.zeros(40, 24)).codes
    for found, expected in zip(single.relative_gap(codes), double.relative_gap(codes.double()), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_a_gap_knows_the_rows_that_are_left():
    whole, keep = problem(coupled=True).start_at(torch.zeros(40, 24)), torch.tensor([3, 17])
    codes = torch.rand(40, 24, generator=torch.Generator().manual_seed(1))
    left = whole.keep_rows(keep, codes[:2]).relative_gap(codes[keep])
    assert torch.equal(left.gap, whole.relative_gap(codes).gap[keep])


@pytest.mark.parametrize("scale", [2.0**-80, 2.0**70])
def test_estimators_say_that_extreme_rows_converged_only_where_they_did(scale):
    X = problem().X.numpy()
    coder = StandardDictionaryLearning(24, encoder=None, alpha=0.0, max_iter=2, random_state=0).fit(X)
    expected = coder.encode(X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the scale
        found = coder.encode(X * np.float32(scale))
    np.testing.assert_array_equal(found.codes / np.float32(scale), expected.codes)
    np.testing.assert_array_equal(found.n_iter, expected.n_iter)


@pytest.mark.parametrize("scale", [2.0**-110, 2.0**100])
@pytest.mark.parametrize("n_rows", [3, 40])
def test_sparse_encode_scales_with_the_rows(scale, n_rows):
    one = problem()
    X, atoms = one.X.numpy()[:n_rows], one.components.numpy()
    codes = sparse_encode(X * np.float32(scale), atoms, alpha=ALPHA * scale)
    np.testing.assert_allclose(codes / np.float32(scale), sparse_encode(X, atoms, alpha=ALPHA), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [2.0**-85, 2.0**85])
def test_metrics_of_errors_are_those_of_any_scale(scale):
    X, noise = problem().X.numpy(), problem(coupled=True).coupling.prediction.numpy()[:, :16]
    assert metrics.r2(X * np.float32(scale), (X + noise) * np.float32(scale)) == metrics.r2(X, X + noise)
    assert metrics.psnr(X * np.float32(scale), (X + noise) * np.float32(scale), data_range=scale) == pytest.approx(
        metrics.psnr(X, X + noise, data_range=1.0), rel=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norms_and_changes_of_rows_are_right_at_any_scale(dtype):
    one = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    largest = torch.finfo(dtype).max
    scales = torch.tensor(
        [torch.finfo(dtype).tiny * 2**30, 2.0**-100, 1.0, 2.0**100, largest / 2**30, 0.0], dtype=dtype
    )
    scales = torch.where(scales > 0, scales.log2().floor().exp2(), 0)[:, None]
    norms = torch.linalg.vector_norm(one, dim=1, keepdim=True)
    assert torch.equal(row_norms(one * scales), norms * scales)
    after = one + torch.tensor([0.9, 1.1, 0.9, 1.1, 0.9, 0.0], dtype=dtype)[:, None] * 1e-2 * one
    changes = is_small_change(after * scales, one * scales, 1e-2)
    assert changes.tolist() == [True, False, True, False, True, True]
    assert not is_small_change(one[:1] * scales[0], torch.zeros(1, 5, dtype=dtype), 1e-2).any()
    power = unit_power(one * scales)
    assert torch.equal(power.log2(), power.log2().round())
    assert (((one * scales * power).abs().amax(1) - 0.75).abs()[:5] <= 0.25).all()
