"""The measured beta is the true one, or there is none."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from vaebook.audit import audit, measured_beta
from vaebook.behaviours import SPEC
from vaebook.layers import Sampling
from vaebook.losses import beta_from_weight, beta_of_reductions
from vaebook.mistakes import MISTAKES
from vaebook.routes import ROUTES

N, PIXELS, WEIGHT = 8, 64, 0.25
IMAGES = np.random.default_rng(0).uniform(size=(N, 8, 8, 1)).astype("float32")


def functions(model):
    return {
        "codes": lambda x: model.get_layer("encoder")(x)[1:],
        "reconstruct": lambda x: image_of(model(x)),
    }


def image_of(made):
    return made["reconstruction"] if isinstance(made, dict) else made


class VAE(keras.Model):
    """A step from scratch, with the pieces of the objective as functions."""

    def __init__(self, objective, spread=0.5, latent_dim=2, inner=(), decoy=None):
        super().__init__()
        self.objective, self.spread, self.decoy = objective, spread, decoy
        self.encoder = keras.Sequential(
            [keras.Input((8, 8, 1)), layers.Flatten(), *inner, layers.Dense(2 * latent_dim)]
        )
        self.decoder = keras.Sequential(
            [
                keras.Input((latent_dim,)),
                layers.Dense(PIXELS, "sigmoid"),
                layers.Reshape((8, 8, 1)),
            ]
        )
        self.seed = keras.random.SeedGenerator(3)
        self.build((None, 8, 8, 1))

    def codes(self, x, training=None):
        return tf.split(self.encoder(x, training=training), 2, axis=1)

    def made(self, x, training=None):
        mu, log_var = self.codes(x, training)
        if self.decoy:
            self.decoy([mu, log_var])
        noise = keras.random.normal(tf.shape(mu), seed=self.seed)
        z = mu + tf.exp(self.spread * log_var) * noise
        return self.decoder(z, training=training), z, mu, log_var

    def call(self, x, training=None):
        return self.made(x, training)[0]

    def train_step(self, data):
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.objective(x, *self.made(x, True))
        own = self.trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, own), own, strict=True))
        return {"loss": loss}


def vae(objective, **options):
    model = VAE(objective, **options)
    model.compile("adam")
    return model


def measured(model, **options):
    return measured_beta(model, IMAGES, IMAGES, codes=model.codes, reconstruct=model, **options)


def k_of(mu, log_var):
    return ops.square(mu) + ops.expm1(log_var) - log_var


def bce(x, p):
    return ops.binary_crossentropy(x, p)


def objective(pixels="sum", latents="sum", factor=1.0, kl_factor=0.5, error=bce, k=k_of):
    over = {"sum": ops.sum, "mean": ops.mean}

    def value(x, p, z, mu, log_var):
        first = factor * over[pixels](error(x, p), axis=(1, 2, 3))
        return ops.mean(first + kl_factor * over[latents](k(mu, log_var), axis=1))

    return value


def squared(x, p):
    return ops.square(x - p)


def drawn(x, p, z, mu, log_var):
    """The KL as the TensorFlow tutorial draws it: log q(z|x) − log p(z)."""
    log_q = -0.5 * ops.sum(ops.square(z - mu) * ops.exp(-log_var) + log_var, axis=1)
    log_p = -0.5 * ops.sum(ops.square(z), axis=1)
    return ops.mean(ops.sum(bce(x, p), axis=(1, 2, 3)) + log_q - log_p)


MEANS = {"pixels": "mean", "latents": "mean"}
MUSEUM = {
    "Keras example": ({}, {}),
    "Keras guide": (MEANS, {"error": "squared"}),
    "Chollet, 3rd edition": ({"latents": "mean"}, {}),
    "Foster, 2nd edition": ({"pixels": "mean", "factor": 500}, {"reconstruction_factor": 500}),
    "part VI": ({**MEANS, "kl_factor": 1e-3}, {"kl_factor": 1e-3}),
}


@pytest.mark.parametrize("name", ROUTES)
def test_beta_of_a_route(name):
    route = ROUTES[name]
    model = route.build(SPEC, weight=WEIGHT, seed=1)
    found = measured_beta(model, IMAGES, route.targets(IMAGES), **functions(model))
    truth = beta_from_weight(WEIGHT, SPEC.image_shape, SPEC.latent_dim)
    assert found.beta == pytest.approx(truth, rel=1e-4)
    assert abs(found.beta - truth) < 1e-3 * truth + 5 * found.standard_error
    assert found.why == ""


@pytest.mark.parametrize("name", MUSEUM)
def test_beta_of_an_exhibit_agrees_with_its_arithmetic(name):
    reductions, described = MUSEUM[name]
    shared = {key: value for key, value in reductions.items() if key in ("pixels", "latents")}
    truth = beta_of_reductions((8, 8, 1), 2, **shared, **described)
    wrong_unit = {"error": squared} if described.get("error") == "squared" else {}
    found = measured(
        vae(objective(**reductions, **wrong_unit)),
        error=described.get("error", "crossentropy"),
    )
    assert found.beta == pytest.approx(truth, rel=1e-2), str(found)
    assert not found.drawn


def test_beta_of_a_kl_that_is_drawn():
    found = measured(vae(drawn))
    assert found.beta == pytest.approx(1, rel=1e-2), str(found)
    assert found.drawn


def test_beta_of_a_model_with_dropout_and_batch_norm():
    inner = (layers.Dense(8), layers.BatchNormalization(), layers.Dropout(0.3))
    found = measured(vae(objective(), inner=inner))
    assert found.beta == pytest.approx(1, rel=1e-2), str(found)


def test_beta_beside_a_regulariser():
    inner = (layers.Dense(8, kernel_regularizer=keras.regularizers.L2(0.1)),)
    model = vae(lambda *given: objective()(*given) + sum(model.encoder.losses), inner=inner)
    found = measured(model)
    assert found.beta == pytest.approx(1, rel=1e-2), str(found)


def test_a_pixel_variance_scales_beta():
    model = vae(objective(error=squared))
    for variance in (1.0, 0.1):
        truth = beta_of_reductions((8, 8, 1), 2, error="squared", pixel_variance=variance)
        found = measured(model, error="squared", pixel_variance=variance)
        assert found.beta == pytest.approx(truth, rel=1e-2)


def test_beta_is_0_without_a_kl():
    found = measured(vae(lambda x, p, *codes: ops.mean(ops.sum(bce(x, p), axis=(1, 2, 3)))))
    assert found.beta == pytest.approx(0, abs=1e-6)


def free_bits(mu, log_var):
    return ops.maximum(k_of(mu, log_var), 0.5)


def another_prior(mu, log_var):
    return ops.square(mu) / 4 + ops.exp(log_var) / 4 - log_var


def misread(mu, log_var):
    return k_of(log_var, mu)


@pytest.mark.parametrize("k", [free_bits, another_prior, misread])
def test_another_term_than_the_kl_has_no_beta(k):
    found = measured(vae(objective(k=k)))
    assert found.beta is None
    assert not found.fits
    assert str(found).startswith("none: ")


def test_the_slip_in_the_noise_has_no_beta_but_that_of_its_formula():
    found = measured(vae(objective(**MEANS, kl_factor=5e-4), spread=1.0))
    assert found.beta is None
    assert "exp(log_var), not exp(½ log_var)" in found.why
    assert found.kl_factor / found.reconstruction_factor == pytest.approx(
        beta_of_reductions((8, 8, 1), 2, **MEANS, kl_factor=5e-4), rel=1e-2
    )


def test_a_right_draw_that_leads_nowhere_does_not_hide_the_slip():
    decoy = Sampling(seed=1)
    decoy([np.zeros((1, 2)), np.zeros((1, 2))])  # so that it is built
    model = vae(objective(), spread=1.0, decoy=decoy)
    found = measured(model)
    assert "exp(log_var), not exp(½ log_var)" in found.why


def test_a_reconstruction_without_its_noise_is_not_explained():
    model = vae(objective())
    found = measured_beta(
        model,
        IMAGES,
        codes=model.codes,
        reconstruct=lambda x: model.decoder(model.codes(x)[0]),
    )
    assert found.beta is None


def test_audit_reports_beta_and_the_kl_that_is_missing():
    route = ROUTES["direct_outputs"]
    model = route.build(SPEC, weight=WEIGHT, seed=1)
    report = audit(model, IMAGES, route.targets(IMAGES), reload=False, **functions(model))
    assert report.findings == []
    assert "beta: " in str(report)
    without = vae(lambda x, p, *codes: ops.mean(ops.sum(bce(x, p), axis=(1, 2, 3))))
    report = audit(without, IMAGES, codes=without.codes, reconstruct=without, reload=False)
    assert report.found("kl-absent")


def test_measuring_changes_nothing():
    model = vae(objective(), inner=(layers.BatchNormalization(),))
    before = [np.array(variable.numpy()) for variable in model.variables]
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    measured(model)
    assert all(map(np.array_equal, before, [v.numpy() for v in model.variables]))
    assert np.array_equal(state, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"error": "absolute"}, "Expected error to be"),
        ({"pixel_variance": 0}, "pixel_variance"),
        ({"codes": lambda x: x}, "Expected codes"),
        ({"codes": lambda x: (x, x[:, :1])}, "Expected mu and log_var of one shape"),
        ({"reconstruct": lambda x: x[:, :4]}, "Expected a reconstruction of shape"),
        ({"images": lambda x: [x]}, "Expected images"),
    ],
)
def test_refuses_wrong_arguments(options, words):
    model = vae(objective())
    right = {"codes": model.codes, "reconstruct": model}
    with pytest.raises(ValueError, match=words):
        measured_beta(model, IMAGES, **{**right, **options})


def test_the_kl_layer_s_weight_now_is_the_beta_now():
    weight = keras.Variable(0.0)
    route = ROUTES["kl_layer"]
    model = route.build(SPEC, weight=weight, seed=1)
    betas = []
    for value in (0.1, 0.2):
        weight.assign(value)
        betas.append(measured_beta(model, IMAGES, IMAGES, **functions(model)).beta)
    assert betas[1] == pytest.approx(2 * betas[0], rel=1e-3)


def test_a_broken_metric_of_another_model_does_no_harm():
    broken = keras.metrics.Mean()
    broken.total._value = tf.Variable(np.zeros(0, "float32"))  # as a failed update leaves it
    model = ROUTES["direct_outputs"].build(SPEC, weight=WEIGHT, seed=1)
    found = measured_beta(
        model, IMAGES, ROUTES["direct_outputs"].targets(IMAGES), **functions(model)
    )
    assert found.beta is not None
    assert broken.total.numpy().shape == (0,)


def test_beta_of_a_model_whose_kl_is_exactly_0_is_still_told():
    report = audit(**MISTAKES["posterior collapse"].build(), reload=False)
    assert [each.code for each in report.findings] == ["posterior-collapsed"]
    right = beta_from_weight(WEIGHT, SPEC.image_shape, SPEC.latent_dim)
    assert report.beta.beta == pytest.approx(right, rel=1e-4)
