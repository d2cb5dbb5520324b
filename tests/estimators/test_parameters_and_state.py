"""Parameters set after a fit, fits that fail, tensors and frames of the caller: nothing half-changed or ignored."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from skvardict import (
    SparseVAE,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    alpha_max,
    load,
    sparse_encode,
)
from skvardict.networks import MLP, Conv
from skvardict.training import SGD, Adam, CheckpointMismatchError, EarlyStopping, StepDecay, TrainingDivergedError


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((120, 10)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 6, "max_iter": 1, "random_state": 0, **parameters})


def variational(**parameters):
    settings = {"n_components": 6, "max_iter": 1, "encoder": MLP((8,)), "random_state": 0}
    return SparseVAE(**settings | parameters)


# --- state ------------------------------------------------------------------------------------------------------------


def test_parameters_set_after_a_fit_act_whether_or_not_the_model_was_used_before(X):
    model = small(transform_algorithm="solver").fit(X)
    first = model.transform(X)
    model.set_params(alpha=0.5)
    codes = model.transform(X)
    assert (codes == 0).sum() > (first == 0).sum()
    np.testing.assert_array_equal(codes, pickle.loads(pickle.dumps(model)).transform(X))
    model.alpha = "auto"
    np.testing.assert_array_equal(model.transform(X), first)


@pytest.mark.parametrize("part", ["decoder_", "encoder_"])
def test_changing_a_rebuilt_module_leaves_the_model_alone(X, part):
    model = small(decoder=MLP((8,))).fit(X)
    components = model.components_
    for weights in getattr(model, part).parameters():
        weights.zero_()
    assert all(bool(weights.any()) for name, weights in getattr(model, part).named_parameters() if "bias" not in name)
    np.testing.assert_array_equal(model.components_, components)


@pytest.mark.parametrize("names", [None, list("abcdefghij")])
def test_a_fit_that_fails_leaves_the_features_of_the_last_one(X, names):
    rows = X if names is None else pd.DataFrame(X, columns=names)
    model = small(early_stopping=False).fit(rows)
    codes = model.transform(rows)
    other, spoilt = X[:, :7], X[:, :7].copy()
    spoilt[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.fit(spoilt)
    with pytest.raises(ValueError, match="NaN"):
        model.fit_stream([spoilt])
    with pytest.raises(TrainingDivergedError, match="fitted before"):
        model.set_params(optimizer=Adam(1e30, encoder_learning_rate=1e-4), batch_size=20).fit(other)
    assert model.n_features_in_ == 10
    np.testing.assert_array_equal(model.transform(rows), codes)
    model.set_params(optimizer=Adam(1e-3, encoder_learning_rate=1e-4)).fit(other)
    assert model.n_features_in_ == 7
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("model", [small(), small(decoder=MLP((5,))), variational()])
def test_training_leaves_no_gradient_in_the_rows_of_the_caller(X, model):
    rows = torch.tensor(X, requires_grad=True)
    model.fit(rows, X_val=rows).partial_fit(rows)
    assert rows.grad is None


@pytest.mark.parametrize("method", ["posterior_params", "sample_codes", "elbo", "iwae"])
def test_an_error_in_a_variational_method_leaves_the_gradient_mode_alone(X, monkeypatch, method):
    def fail(*args):
        raise torch.OutOfMemoryError("no memory")

    model = variational().fit(X)
    used = {"posterior_params": "summary", "elbo": "code_kl"}.get(method, "codes")
    monkeypatch.setattr(model._latent().__class__, used, fail)
    with pytest.raises(torch.OutOfMemoryError) as error:
        getattr(model, method)(X)
    assert torch.is_grad_enabled()
    assert error.tb is not None  # with the frames alive, as after an error in an interactive session


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_fit_does_not_depend_on_the_gradient_mode_of_the_caller(X, mode):
    expected = small().fit(X)
    with mode():
        rows = torch.tensor(X)
        models = [small().fit(rows), small().fit_stream([rows]), small().partial_fit(rows)]
        codes = models[0].transform(rows)
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(codes, expected.transform(X))
    np.testing.assert_array_equal(models[0].components_, expected.components_)


def test_a_checkpoint_of_a_fit_or_of_another_buffer_is_none_of_a_stream(X, tmp_path):
    small().fit_stream([X], buffer_rows=200, checkpoint=tmp_path / "stream")
    small().fit(X, checkpoint=tmp_path / "fit")
    with pytest.raises(CheckpointMismatchError, match="stream: buffer_rows=200 in the checkpoint, buffer_rows=90 now"):
        small().fit_stream([X], buffer_rows=90, checkpoint=tmp_path / "stream")
    with pytest.raises(CheckpointMismatchError, match="stream: absent in the checkpoint, buffer_rows=200 now"):
        small().fit_stream([X], buffer_rows=200, checkpoint=tmp_path / "fit")


# --- input ------------------------------------------------------------------------------------------------------------


def test_columns_in_another_order_are_refused_as_targets_and_validation_rows(X):
    frame = pd.DataFrame(X, columns=list("abcdefghij"))
    model = small().fit(frame, X_val=frame)
    turned = frame[list("jihgfedcba")]
    for call in (lambda: model.score(frame, turned), lambda: small().fit(frame, X_val=turned)):
        with pytest.raises(ValueError, match="another order"):
            call()
    renamed = frame.set_axis([f"clean_{name}" for name in frame], axis=1)
    assert model.score(frame, renamed) == model.score(frame, X) == model.score(frame)


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["array", "tensor"])
def test_errors_name_the_rows_that_are_meant(X, convert):
    model, spoilt = small().fit(X), X.copy()
    spoilt[3, 2] = np.nan
    for rows, said in ((X[:, :4], "{} has 4"), (spoilt, "{} contains NaN or infinity .* row 3")):
        with pytest.raises(ValueError, match=said.format("X_val")):
            small().fit(X, X_val=convert(rows))
        with pytest.raises(ValueError, match=said.format("y")):
            model.score(X, convert(rows))


def test_a_sparse_tensor_is_refused_with_advice(X):
    with pytest.raises(TypeError, match=r"dense tensor, but got torch\.sparse_coo\. Pass X\.to_dense"):
        small().fit(torch.tensor(X).to_sparse())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", [lambda a: a[::-1], lambda a: a.astype(">f4"), lambda a: a.copy()])
def test_dictionaries_of_any_layout_are_read(X, layout):
    atoms = np.random.default_rng(1).standard_normal((6, 10)).astype(np.float32)
    given = layout(atoms)
    given.flags.writeable = False
    plain = np.ascontiguousarray(given).astype(np.float32)
    np.testing.assert_array_equal(sparse_encode(X, given, alpha=0.1), sparse_encode(X, plain, alpha=0.1))
    assert alpha_max(X, given) == alpha_max(X, plain)
    first, second = (small(init=init).fit(X).components_ for init in (given, plain))
    np.testing.assert_array_equal(first, second)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (small(optimizer=Adam(schedule=StepDecay(0.5, 0))), "'n_epochs' parameter of StepDecay"),
        (small(optimizer=Adam(schedule=StepDecay(0.5, 1.5))), "'n_epochs' parameter of StepDecay"),
        (variational(optimizer=Adam(schedule=StepDecay("a", 1))), "'factor' parameter of StepDecay"),
        (small(decoder=MLP((0,))), r"hidden_layer_sizes must be .* at least 1, but is \(0,\)"),
        (variational(encoder=MLP((8, 2.5))), "MLP: hidden_layer_sizes must be"),
        (small(early_stopping=EarlyStopping(validation_fraction=0.999)), "leaves 0 for training"),
        (
            StandardDictionaryLearning(4, decoder=lambda d, k: torch.nn.Linear(k, d), max_iter=1),
            "atom_norm=1.0 needs a linear or MLP decoder",
        ),
    ],
)
def test_bad_parameters_are_refused_by_name(X, model, said):
    with pytest.raises(ValueError, match=said):
        model.fit(X)


def test_partial_fit_checks_the_decay_of_the_rate(X):
    with pytest.raises(ValueError, match="'n_epochs' parameter of StepDecay"):
        small(optimizer=Adam(schedule=StepDecay(0.5, 0))).partial_fit(X)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        # One column would be spread over all features without a word.
        (
            {"decoder": lambda d, k: torch.nn.Linear(k, 1)},
            r"decoder= must map rows of 6 .* to rows of 10, .*\(2, 1\)",
        ),
        (
            {"encoder": lambda d, k: torch.nn.Linear(d, k + 1)},
            r"encoder= must map .* to rows of 6, .*\(2, 7\)",
        ),
    ],
)
def test_a_builder_of_another_size_is_refused(X, parameters, said):
    with pytest.raises(ValueError, match=said):
        small(**parameters).fit(X)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5])
def test_the_number_of_samples_is_checked(X, n_samples):
    with pytest.raises(ValueError, match="n_samples must be an integer of at least 1, but got"):
        variational().fit(X).sample(n_samples)


def test_a_checkpoint_takes_any_dtype_of_torch(X, tmp_path):
    rows = torch.tensor(X).bfloat16()
    small().fit(rows, checkpoint=tmp_path / "run")
    assert small().fit(rows, checkpoint=tmp_path / "run").resumed_epoch_ == 1


def test_image_shapes_may_be_integers_of_numpy():
    X = np.random.default_rng(0).standard_normal((30, 64)).astype(np.float32)
    model = variational(encoder=Conv(np.array([8, 8]))).fit(X)
    assert model.transform(X).shape == (30, 6)


def test_weights_without_a_divergence_choose_the_best_draw(X):
    def objective(reduction):
        settings = {"expectation": "draws", "n_draws": 4, "draw_reduction": reduction, "encoder": MLP((8,))}
        model = ThresholdedVSC(6, kl_weight=0, **settings)
        return model._build_objective(model._build_model(10, torch.Generator().manual_seed(0)), 60, model._plan(60))

    rows = torch.from_numpy(50 * X[:60])
    losses = [objective(kind).step(rows, torch.Generator().manual_seed(1))[0] for kind in ("softmax", "iwae", "max")]
    for weighted in losses[:2]:
        torch.testing.assert_close(weighted["reconstruction"], losses[2]["reconstruction"], rtol=1e-5, atol=0)


class FixedDecoder(torch.nn.Module):
    def __init__(self, n_features, n_components):
        super().__init__()
        self.register_buffer("atoms_", torch.eye(n_components, n_features))

    def forward(self, codes):
        return codes @ self.atoms_


def test_a_decoder_may_have_nothing_to_learn():
    X = np.abs(np.random.default_rng(0).standard_normal((60, 6))).astype(np.float32)
    fit = VarianceDictionaryLearning(4, decoder=FixedDecoder, max_iter=2, random_state=0).fit(X)
    assert fit.history_["decoder_norm"] == [0.0, 0.0]
    np.testing.assert_array_equal(fit.inverse_transform(np.eye(4, dtype=np.float32)), np.eye(4, 6))


@pytest.mark.parametrize("name", ["n_components", "decoder"])
def test_parameters_that_no_longer_describe_the_weights_are_refused_and_nothing_is_lost(X, name):
    model = VarianceDictionaryLearning(n_components=4, max_iter=1, random_state=0).fit(X)
    codes, before = model.transform(X), model.get_params()[name]
    with pytest.raises(ValueError, match=r"was fitted with shape .* Set them back, or fit anew"):
        model.set_params(**{name: {"n_components": 5, "decoder": "mlp"}[name]}).transform(X)
    np.testing.assert_array_equal(model.set_params(**{name: before}).transform(X), codes)


@pytest.mark.parametrize("estimator", [ThresholdedVSC, VarianceDictionaryLearning])
def test_rows_that_are_held_out_set_nothing_before_training(X, held_out_rows, estimator):
    if estimator is VarianceDictionaryLearning:
        settings = {"init": "data", "optimizer": Adam(1e-9, encoder_learning_rate=1e-4)}
    else:
        settings = {"optimizer": SGD(1e-9, dictionary_learning_rate=0.5)}
    model = estimator(
        n_components=16, max_iter=1, early_stopping=EarlyStopping(validation_fraction=0.5), random_state=0
    )
    model.set_params(**settings).fit(X)
    rows, held_out = (X[part] for part in held_out_rows[0])
    if "init" in settings:
        cosines = [_normalized(model.components_) @ _normalized(part - rows.mean(0)).T for part in (rows, held_out)]
        np.testing.assert_allclose(cosines[0].max(1), 1, atol=1e-5)
        assert cosines[1].max() < 0.99
    else:
        np.testing.assert_allclose(model.mean_, rows.mean(0), atol=1e-6)


def test_a_builder_may_fit_models_of_its_own(X):
    model = variational(encoder=lambda d, n_outputs: variational(n_components=n_outputs // 2).fit(X).encoder_).fit(X)
    assert np.isfinite(model.transform(X)).all()


@pytest.mark.parametrize("estimator", [VarianceDictionaryLearning, SparseVAE])
def test_networks_that_draw_follow_random_state_and_leave_the_global_generator_alone(X, estimator):
    def encoder(n_inputs, n_outputs):
        return torch.nn.Sequential(torch.nn.Linear(n_inputs, n_outputs), torch.nn.Dropout(0.3))

    found = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # noqa: TID251
            before = torch.get_rng_state()
            found.append(estimator(6, encoder=encoder, max_iter=2, random_state=0).fit(X).components_)
            assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("estimator", [VarianceDictionaryLearning, SparseVAE])
def test_validation_rows_do_not_move_running_averages(X, estimator):
    def encoder(n_inputs, n_outputs):
        return torch.nn.Sequential(torch.nn.Linear(n_inputs, n_outputs), torch.nn.BatchNorm1d(n_outputs))

    models = [estimator(6, encoder=encoder, max_iter=1, random_state=0).fit(X, X_val=X[:30] * c) for c in (1, 9)]
    np.testing.assert_array_equal(*(model.transform(X) for model in models))


def test_iterations_of_the_solver_leave_no_trace_in_a_decoder(X):
    seen = []

    class Decoder(torch.nn.Linear):
        def forward(self, codes):
            seen.append((self.training, torch.is_grad_enabled(), codes.requires_grad))
            return super().forward(codes)

    small(decoder=lambda n_features, n_components: Decoder(n_components, n_features), early_stopping=False).fit(X)
    assert {training for training, _, requires_grad in seen if requires_grad} == {False}
    assert True in {training for training, *_ in seen}


def test_a_continued_fit_holds_out_the_same_rows(X, held_out_rows):
    model = small(early_stopping=EarlyStopping(validation_fraction=0.3), warm_start=True)
    model.fit(X).fit(X)
    (_, first), (_, second) = held_out_rows
    assert torch.equal(first, second)


def test_an_error_in_a_later_epoch_keeps_the_epochs_before_it(X):
    passes = []

    def chunks():
        passes.append(None)
        if len(passes) == 5:  # the first is read before training
            raise OSError("the disk is gone")
        return iter([X])

    model = small(max_iter=6)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        model.fit_stream(chunks)
    assert any("the state after epoch" in note for note in caught.value.__notes__)
    assert model.n_iter_ == len(model.history_["epoch"]) >= 3
    assert np.isfinite(model.transform(X)).all()


def test_an_interrupt_in_the_first_epoch_of_another_fit_keeps_the_model(X, meddle):
    model = small(max_iter=3).fit(X)
    codes = model.transform(X)

    def interrupt(session):
        raise KeyboardInterrupt

    with meddle(interrupt), pytest.raises(KeyboardInterrupt) as caught:
        model.fit(X)
    assert "interrupted after 0 complete epochs; the state after epoch 3 is kept" in caught.value.__notes__[0]
    assert model.n_iter_ == 3
    np.testing.assert_array_equal(model.transform(X), codes)


def test_codes_are_not_written_into_integers(X):
    model = small().fit(X)
    with pytest.raises(ValueError, match=r"into out, of torch.int64 and writeable"):
        model.transform(torch.from_numpy(X), out=torch.zeros(len(X), 6, dtype=torch.int64))


@pytest.mark.parametrize(
    "codes", [np.full((2, 6), "a"), np.zeros((2, 6), complex), torch.zeros(2, 6, dtype=torch.cfloat)]
)
def test_codes_are_real_numbers(X, codes):
    with pytest.raises((TypeError, ValueError), match=r"inverse_transform: codes.* real numbers"):
        small().fit(X).inverse_transform(codes)


@pytest.mark.parametrize(
    "parameters",
    [{"alpha": np.inf}, {"alpha": "a"}, {"alpha": [1.0]}, {"tol": -1}, {"max_iter": 0}, {"max_iter": 2.5}],
    ids=str,
)
def test_numbers_of_sparse_encode_are_checked_by_name(X, parameters):
    (name,) = parameters
    with pytest.raises(ValueError, match=f"{name} (to be|must be)"):
        sparse_encode(X, X[:4], **{"alpha": 0.1, **parameters})


def test_changing_components_leaves_the_model_alone(X):
    model = small().fit(X)
    codes = model.transform(X)
    before = model.inverse_transform(codes)
    model.components_[:] = 0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).inverse_transform(codes), before)


def test_a_variance_needs_batches_of_several_rows(X):
    with pytest.raises(ValueError, match=r"batch_size=1. Use batches of at least 2 rows"):
        small(batch_size=1).fit(X)
    small(batch_size=1, beta=0.0).fit(X[:10])


def test_mistakes_of_the_caller_are_not_damage_of_the_file(X, tmp_path):
    path = tmp_path / "model.skv"
    small().fit(X).save(path)
    with pytest.raises(TypeError, match="has no parameters foo"):
        load(path, foo=1)
    with pytest.raises(ValueError, match="The 'alpha' parameter of VarianceDictionaryLearning must be") as caught:
        load(path, alpha=-1)
    assert type(caught.value).__name__ != "DamagedFileError"


def _normalized(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
