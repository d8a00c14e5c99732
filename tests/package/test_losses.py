import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from vaebook.losses import (
    GaussianKL,
    ImageCrossentropy,
    KLLoss,
    LogVarLoss,
    MuLoss,
    beta_from_weight,
    beta_of_reductions,
    weight_from_beta,
)

LN2 = float(np.log(2))


def values(loss, y_pred, y_true=None):
    """One value per image, without Keras's own reduction."""
    return ops.convert_to_numpy(loss.call(y_true, ops.convert_to_tensor(y_pred)))


def test_mu_loss_of_the_prior_is_zero():
    assert values(MuLoss(), np.zeros((4, 3))).tolist() == [0, 0, 0, 0]


def test_mu_loss_is_the_mean_square_over_the_latent_variables():
    assert values(MuLoss(), [[3.0, 1.0], [0.0, -2.0]]) == pytest.approx([5, 2])


def test_log_var_loss_of_the_prior_is_zero():
    assert values(LogVarLoss(), np.zeros((4, 3))).tolist() == [0, 0, 0, 0]


def test_log_var_loss_by_hand():
    # exp(ln 2) − 1 − ln 2 = 1 − ln 2, and ½ − 1 + ln 2 = ln 2 − ½
    received = values(LogVarLoss(), [[LN2, 0.0], [LN2, -LN2]])
    assert received == pytest.approx([(1 - LN2) / 2, 0.25])


@pytest.mark.parametrize("log_var", [-30.0, -1.0, -1e-3, 1e-3, 1.0, 30.0])
def test_log_var_loss_is_positive_away_from_the_prior(log_var):
    assert values(LogVarLoss(), np.full((1, 2), log_var, "float32"))[0] > 0


def test_log_var_loss_keeps_its_digits_near_the_prior():
    log_var = np.full((1, 1), 1e-2, "float32")
    exact = np.expm1(np.float64(log_var[0, 0])) - np.float64(log_var[0, 0])
    assert values(LogVarLoss(), log_var)[0] == pytest.approx(exact, rel=2e-5)


def test_kl_loss_is_the_sum_of_its_parts():
    # k is (1, ½) and (1 − ln 2, 4): the means times the weight
    stacked = [[[1.0, 0.0], [0.0, -LN2]], [[0.0, 2.0], [LN2, 0.0]]]
    received = values(KLLoss(0.5), stacked)
    assert received == pytest.approx([(0.5 + LN2) / 4, (5 - LN2) / 4])


def test_kl_loss_wants_two_in_a_stack():
    with pytest.raises(ValueError, match=r"\(batch, 2, latent_dim\).*\(1, 3, 2\)"):
        values(KLLoss(), np.zeros((1, 3, 2)))


def test_gaussian_kl_by_hand():
    mu, log_var = [1.0, 1.0], [0.0, 0.0]
    assert values(GaussianKL(), [[mu, log_var]]) == pytest.approx([1.0])
    mu, log_var = [0.0, 2.0], [LN2, 0.0]
    assert values(GaussianKL(), [[mu, log_var]]) == pytest.approx([(1 - LN2 + 4) / 2])


def test_gaussian_kl_is_a_monte_carlo_mean_of_the_log_ratio():
    mu, log_var = np.array([0.8, -0.3]), np.array([-0.5, 0.4])
    noise = np.random.default_rng(1).normal(size=(400_000, 2))
    z = mu + np.exp(log_var / 2) * noise
    log_ratio = (-0.5 * (log_var + noise**2) + 0.5 * z**2).sum(axis=1)
    error = log_ratio.std() / np.sqrt(len(log_ratio))
    received = values(GaussianKL(), [[mu.tolist(), log_var.tolist()]])[0]
    assert abs(received - log_ratio.mean()) < 4 * error


def test_the_two_parts_add_up_to_the_divergence():
    rng = np.random.default_rng(2)
    mu, log_var = rng.normal(size=(2, 5, 3))
    parts = values(MuLoss(), mu) + values(LogVarLoss(), log_var)
    whole = values(GaussianKL(), np.stack([mu, log_var], axis=1))
    assert whole == pytest.approx(3 / 2 * parts)


def test_image_crossentropy_is_the_mean_over_pixels():
    true = np.zeros((2, 2, 2, 1), "float32")
    true[1] = 1
    reconstructed = np.full((2, 2, 2, 1), 0.25, "float32")
    reconstructed[:, 0, 0] = 0.5
    per_pixel_0 = [np.log(2)] + 3 * [-np.log(0.75)]
    per_pixel_1 = [np.log(2)] + 3 * [-np.log(0.25)]
    expected = [np.mean(per_pixel_0), np.mean(per_pixel_1)]
    assert values(ImageCrossentropy(), reconstructed, true) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [MuLoss(0.5), LogVarLoss(0.5)])
def test_a_weight_scales_the_loss(loss):
    mu = np.ones((1, 2), "float32")
    assert values(loss, mu) == pytest.approx(0.5 * values(type(loss)(), mu))


def test_a_variable_weight_is_read_at_each_call():
    weight = keras.Variable(1.0)
    loss = MuLoss(weight)
    weight.assign(3.0)
    assert values(loss, [[1.0]]) == pytest.approx([3.0])


@pytest.mark.parametrize("loss", [MuLoss(), LogVarLoss()])
def test_the_target_is_not_read(loss):
    y_pred = np.ones((2, 3), "float32")
    targets = (np.zeros((2, 0)), np.zeros((2, 3)), np.full((2, 1), np.nan))
    assert len({float(loss(target, y_pred)) for target in targets}) == 1


@pytest.mark.parametrize(
    "loss",
    [ImageCrossentropy(), MuLoss(0.3), LogVarLoss(keras.Variable(0.3)), GaussianKL()],
)
def test_a_loss_survives_serialisation(loss):
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert keras.losses.serialize(copy) == keras.losses.serialize(loss)


def test_sample_weight_reaches_each_image():
    mu = np.array([[1.0], [2.0]], "float32")
    loss = MuLoss()(np.zeros((2, 0)), mu, sample_weight=np.array([1.0, 0.0]))
    assert float(loss) == pytest.approx(0.5)


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_wrong_weight_is_refused(weight):
    with pytest.raises(ValueError, match="Expected a finite weight ≥ 0. Received: weight="):
        MuLoss(weight)


@pytest.mark.parametrize(
    ("loss", "y_true", "y_pred", "message"),
    [
        (
            MuLoss(),
            None,
            np.zeros((2, 3, 4)),
            r"\(batch, latent_dim\). Received: .*\(2, 3, 4\)",
        ),
        (LogVarLoss(), None, np.zeros(2), r"\(batch, latent_dim\). Received: .*\(2,\)"),
        (
            GaussianKL(),
            None,
            np.zeros((2, 4)),
            r"\(batch, 2, latent_dim\). Received: .*\(2, 4\)",
        ),
        (
            GaussianKL(),
            None,
            np.zeros((2, 3, 4)),
            r"latent_dim\). Received: .*\(2, 3, 4\)",
        ),
        (
            ImageCrossentropy(),
            np.zeros((2, 4)),
            np.zeros((2, 4)),
            r"channels\). Received",
        ),
        (
            ImageCrossentropy(),
            np.zeros((2, 4, 4, 1)),
            np.zeros((2, 5, 5, 1)),
            r"reconstruction's shape \(2, 5, 5, 1\). Received: shape \(2, 4, 4, 1\)",
        ),
    ],
)
def test_a_wrong_shape_is_refused(loss, y_true, y_pred, message):
    with pytest.raises(ValueError, match=message):
        values(loss, y_pred, y_true)


def test_weight_and_beta_are_each_other_s_inverse():
    assert beta_from_weight(1e-3, (28, 28, 1), 2) == pytest.approx(0.784)
    assert weight_from_beta(1, (28, 28, 1), 16) == pytest.approx(16 / 1568)
    weight = weight_from_beta(0.3, (32, 48, 3), 7)
    assert beta_from_weight(weight, (32, 48, 3), 7) == pytest.approx(0.3)


def test_beta_makes_the_mean_loss_the_beta_vae_s():
    rng = np.random.default_rng(3)
    true, reconstructed = rng.uniform(0.1, 0.9, size=(2, 1, 4, 6, 3))
    mu, log_var = rng.normal(size=(2, 1, 5))
    weight = weight_from_beta(0.7, (4, 6, 3), 5)
    mean_form = (
        values(ImageCrossentropy(), reconstructed, true)
        + values(MuLoss(weight), mu)
        + values(LogVarLoss(weight), log_var)
    )
    nats = -(true * np.log(reconstructed) + (1 - true) * np.log1p(-reconstructed)).sum()
    divergence = 0.5 * (mu**2 + np.exp(log_var) - 1 - log_var).sum()
    assert 4 * 6 * 3 * mean_form == pytest.approx([nats + 0.7 * divergence])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, (28, 28, 1), 2), "finite (beta|weight) ≥ 0. Received: (beta|weight)=-1"),
        ((1, (28, 28), 2), r"\(height, width, channels\)"),
        ((1, (28, 0, 1), 2), r"\(height, width, channels\)"),
        ((1, (28, 28, 1), 0), "latent_dim ≥ 1"),
    ],
)
@pytest.mark.parametrize("convert", [weight_from_beta, beta_from_weight])
def test_wrong_arguments_of_the_conversions_are_refused(convert, arguments, message):
    with pytest.raises(ValueError, match=message):
        convert(*arguments)


@pytest.mark.parametrize("mu", [0.0, 1e18, -1e18])
@pytest.mark.parametrize("log_var", [-1e30, -80.0, 80.0])
def test_the_edges_of_the_stated_range_give_finite_losses(mu, log_var):
    mus, log_vars = np.full((1, 100), mu, "float32"), np.full((1, 100), log_var, "float32")
    for loss, y_pred in (
        (MuLoss(), mus),
        (LogVarLoss(), log_vars),
        (GaussianKL(), np.stack([mus, log_vars], axis=1)),
    ):
        assert np.isfinite(values(loss, y_pred)).all()


@pytest.mark.parametrize(("mu", "log_var"), [(1e30, 0.0), (0.0, 100.0), (3e38, -3e38)])
def test_beyond_the_stated_range_a_loss_is_infinite_and_not_nan(mu, log_var):
    y_pred = np.array([[[mu, mu], [log_var, log_var]]], "float32")
    assert values(GaussianKL(), y_pred).tolist() == [np.inf]


def test_gaussian_kl_by_quadrature():
    mu, log_var = np.array([0.7, -1.1]), np.array([-1.5, 0.4])
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    z = mu[:, np.newaxis] + np.exp(log_var / 2)[:, np.newaxis] * nodes
    log_ratio = -0.5 * (nodes**2 + log_var[:, np.newaxis]) + 0.5 * z**2
    by_quadrature = np.sum(log_ratio @ weights) / weights.sum()
    received = values(GaussianKL(), [[mu.tolist(), log_var.tolist()]])
    assert received == pytest.approx([by_quadrature], rel=1e-5)


RGB = (4, 6, 3)
LATENT_DIM = 5


def nats_and_divergence(seed):
    """One image's cross-entropy, squared error and KL, in float64, and what they come from."""
    rng = np.random.default_rng(seed)
    true, reconstructed = rng.uniform(0.1, 0.9, size=(2, *RGB))
    mu, log_var = rng.normal(size=(2, LATENT_DIM))
    nats = -(true * np.log(reconstructed) + (1 - true) * np.log1p(-reconstructed))
    return nats, (true - reconstructed) ** 2, mu**2 + np.exp(log_var) - 1 - log_var


@pytest.mark.parametrize("pixels", ["sum", "mean"])
@pytest.mark.parametrize("latents", ["sum", "mean"])
@pytest.mark.parametrize(("error", "variance"), [("crossentropy", 1.0), ("squared", 0.3)])
def test_beta_of_reductions_makes_the_loss_a_multiple_of_the_beta_vae_s(
    pixels, latents, error, variance
):
    reduce = {"sum": np.sum, "mean": np.mean}
    beta = beta_of_reductions(
        RGB,
        LATENT_DIM,
        pixels=pixels,
        latents=latents,
        reconstruction_factor=3.0,
        kl_factor=0.7,
        error=error,
        pixel_variance=variance,
    )
    multiples = []
    for seed in range(3):
        nats, squares, k = nats_and_divergence(seed)
        loss = 3.0 * reduce[pixels](nats if error == "crossentropy" else squares)
        loss += 0.7 * reduce[latents](k)
        likelihood = nats.sum() if error == "crossentropy" else squares.sum() / (2 * variance)
        multiples.append(loss / (likelihood + beta * 0.5 * k.sum()))
    assert multiples == pytest.approx(3 * [multiples[0]], rel=1e-12)


def test_beta_of_reductions_agrees_with_beta_from_weight():
    received = beta_of_reductions(RGB, 7, pixels="mean", latents="mean", kl_factor=1e-3)
    assert received == pytest.approx(beta_from_weight(1e-3, RGB, 7))


def test_beta_of_plain_sums_is_one():
    assert beta_of_reductions((28, 28, 1), 2) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pixels": "average"}, r"pixels to be one of \('sum', 'mean'\). Received: 'average'"),
        ({"latents": None}, r"latents to be one of \('sum', 'mean'\). Received: None"),
        ({"error": "mse"}, r"error to be one of .*'squared'\). Received: 'mse'"),
        ({"reconstruction_factor": 0}, "reconstruction_factor > 0. Received: .*=0"),
        ({"pixel_variance": -1.0}, "pixel_variance > 0. Received: pixel_variance=-1.0"),
        ({"kl_factor": float("nan")}, "kl_factor ≥ 0. Received: kl_factor=nan"),
        ({"latent_dim": 0}, "latent_dim ≥ 1. Received: latent_dim=0"),
        ({"image_shape": (28, 28)}, r"\(height, width, channels\)"),
    ],
)
def test_a_wrong_description_of_a_loss_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        beta_of_reductions(**{"image_shape": (28, 28, 1), "latent_dim": 2, **options})


@pytest.mark.parametrize("loss", [MuLoss, LogVarLoss, KLLoss])
def test_a_variable_of_tensorflow_is_refused(loss):
    with pytest.raises(TypeError, match="number or a keras.Variable. Received: a tf.Variable"):
        loss(tf.Variable(0.5))


def test_the_argument_that_is_wrong_is_named():
    with pytest.raises(ValueError, match="finite beta ≥ 0. Received: beta=-1.0"):
        weight_from_beta(-1, (8, 8, 1), 2)
    with pytest.raises(ValueError, match="finite weight ≥ 0. Received: weight=inf"):
        beta_from_weight(float("inf"), (8, 8, 1), 2)
    with pytest.raises(TypeError, match="Expected beta to be a number. Received: 'one'"):
        weight_from_beta("one", (8, 8, 1), 2)


def test_two_losses_that_share_a_variable_share_it_after_loading(tmp_path):
    weight = keras.Variable(0.5)
    x = keras.Input((2,))
    outputs = {"mu": keras.layers.Dense(1)(x), "log_var": keras.layers.Dense(1)(x)}
    model = keras.Model(x, outputs)
    model.compile("sgd", loss={"mu": MuLoss(weight), "log_var": LogVarLoss(weight)})
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").loss
    assert isinstance(loaded["mu"].weight, keras.Variable)
    assert loaded["mu"].weight is loaded["log_var"].weight
    assert loaded["mu"].weight is not weight
    assert float(loaded["mu"].weight) == 0.5


def test_a_copy_of_a_loss_from_its_config_has_the_weight():
    for weight in (0.5, keras.Variable(0.5)):
        assert float(MuLoss.from_config(MuLoss(weight).get_config()).weight) == 0.5


def test_images_whose_size_is_not_known_yet_are_taken():
    images = np.full((3, 8, 8, 1), 0.5, "float32")
    shapes = (tf.TensorSpec((None, 8, 8, 1)), tf.TensorSpec((None, None, None, 1)))
    loss = tf.function(ImageCrossentropy(reduction=None), input_signature=shapes)
    assert loss(images, images).numpy() == pytest.approx(3 * [LN2])


def test_labels_are_not_images():
    labels, images = np.zeros(3), np.zeros((3, 8, 8, 1))
    with pytest.raises(ValueError, match=r"shape \(3,\). A dataset of \(image, label\) has to"):
        ImageCrossentropy()(labels, images)
