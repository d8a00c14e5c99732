import keras
import numpy as np
import pytest
from vaebook.networks import (
    NetworkSpec,
    build_decoder,
    build_encoder,
    build_pass_through_decoder,
)

SMALL = {
    "image_shape": (8, 8, 1),
    "encoder_filters": (4, 8),
    "encoder_kernels": (3, 3),
    "encoder_strides": (1, 2),
    "decoder_filters": (4, 1),
    "decoder_kernels": (3, 3),
    "decoder_strides": (2, 1),
}


def layer_types(model):
    return [type(layer).__name__ for layer in model.layers]


def test_the_default_is_the_network_of_part_vi():
    spec = NetworkSpec()
    assert build_encoder(spec).count_params() == 117_764
    assert build_decoder(spec).count_params() == 111_361
    assert build_pass_through_decoder(spec).count_params() == 111_361


def test_the_encoder_gives_z_mu_and_log_var(images):
    encoder = build_encoder(NetworkSpec(latent_dim=3, **SMALL))
    assert encoder.output_names == ["z", "mu", "log_var"]
    assert [output.shape for output in encoder(images)] == 3 * [(6, 3)]


def test_the_decoder_gives_images(images):
    decoder = build_decoder(NetworkSpec(**SMALL))
    decoded = keras.ops.convert_to_numpy(decoder(np.zeros((6, 2), "float32")))
    assert decoded.shape == images.shape
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_the_pass_through_is_the_identity():
    spec = NetworkSpec(**SMALL)
    z, mu, log_var = np.random.default_rng(0).normal(size=(3, 6, 2)).astype("float32")
    image, mu_out, log_var_out = build_pass_through_decoder(spec, seed=1)([z, mu, log_var])
    assert np.array_equal(mu_out, mu)
    assert np.array_equal(log_var_out, log_var)
    assert np.array_equal(image, build_decoder(spec, seed=1)(z))


def test_one_seed_is_one_network(images):
    spec = NetworkSpec(**SMALL, dropout=0.25)
    one, same, other = (build_encoder(spec, seed) for seed in (1, 1, 2))
    for a, b in zip(one(images, training=True), same(images, training=True), strict=True):
        assert np.array_equal(a, b)
    assert not np.array_equal(one.get_weights()[0], other.get_weights()[0])


def test_the_layers_of_one_network_start_from_different_weights():
    encoder = build_encoder(NetworkSpec(**SMALL), seed=1)
    mu, log_var = (encoder.get_layer(name).get_weights()[0] for name in ("mu", "log_var"))
    assert not np.array_equal(mu, log_var)


@pytest.mark.parametrize(
    ("options", "block"),
    [
        ({}, ["Conv2D", "LeakyReLU"]),
        ({"activation": "relu"}, ["Conv2D", "ReLU"]),
        ({"activation": "selu"}, ["Conv2D", "Activation"]),
        ({"batch_norm": True}, ["Conv2D", "BatchNormalization", "LeakyReLU"]),
        ({"dropout": 0.25}, ["Conv2D", "LeakyReLU", "Dropout"]),
        (
            {"activation": "selu", "batch_norm": True, "dropout": 0.25},
            ["Conv2D", "BatchNormalization", "Activation", "AlphaDropout"],
        ),
    ],
)
def test_each_option_puts_its_layer_in_its_place(options, block):
    spec = NetworkSpec(**SMALL, **options)
    assert layer_types(build_encoder(spec))[1 : 1 + 2 * len(block)] == 2 * block
    decoder = layer_types(build_decoder(spec))
    mirrored = ["Conv2DTranspose", *block[1:], "Conv2DTranspose", "Activation"]
    assert decoder[-len(mirrored) :] == mirrored


def test_numpy_integers_and_lists_are_taken():
    spec = NetworkSpec(latent_dim=np.int64(3), encoder_filters=[np.int64(8), 8, 16])
    assert spec.latent_dim == 3
    assert build_encoder(spec).output[0].shape == (None, 3)


def test_colour_images_that_are_not_square():
    spec = NetworkSpec(image_shape=(16, 24, 3), decoder_filters=(64, 32, 3))
    assert spec.feature_shape == (4, 6, 128)
    assert build_decoder(spec).output.shape == (None, 16, 24, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"latent_dim": 0}, ValueError, "latent_dim ≥ 1. Received: latent_dim=0"),
        ({"latent_dim": 2.5}, TypeError, "latent_dim to be an integer. Received: 2.5"),
        (
            {"image_shape": (28, 28)},
            ValueError,
            r"\(height, width, channels\). Received.*28\)",
        ),
        ({"image_shape": 28}, TypeError, "sequence of integers. Received: 28"),
        (
            {"encoder_filters": (32, 64)},
            ValueError,
            "one length. Received.*filters': 2",
        ),
        ({"decoder_kernels": (3,)}, ValueError, "one length. Received.*kernels': 1"),
        ({"encoder_filters": (32, 0, 1)}, ValueError, "encoder_filters ≥ 1"),
        (
            {"encoder_strides": (3, 1, 1)},
            ValueError,
            "divides 28 and 28. Received.*product 3",
        ),
        (
            {"decoder_strides": (2, 1, 1)},
            ValueError,
            "encoder's, 4. Received.*product 2",
        ),
        ({"decoder_filters": (64, 32, 3)}, ValueError, "channels, 1. Received"),
        (
            {"activation": "swish"},
            ValueError,
            "'leaky_relu', 'relu', 'selu'.*Received.*'swish'",
        ),
        ({"batch_norm": 1}, TypeError, "True or False. Received: 1"),
        ({"dropout": 1.0}, ValueError, "0 ≤ dropout < 1. Received: dropout=1.0"),
    ],
)
def test_wrong_sizes_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        NetworkSpec(**arguments)


def test_a_numpy_integer_is_a_seed():
    one, other = (build_encoder(NetworkSpec(**SMALL), seed=s) for s in (1, np.int64(1)))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(("seed", "error"), [(-1, ValueError), (1.5, TypeError)])
def test_another_seed_is_refused(seed, error):
    for build in (build_encoder, build_decoder):
        with pytest.raises(error, match="Expected seed"):
            build(NetworkSpec(**SMALL), seed=seed)


def test_networks_stay_channels_last_if_keras_is_not(images):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        z, _, _ = build_encoder(NetworkSpec(**SMALL), seed=1)(images)
        decoded = build_decoder(NetworkSpec(**SMALL), seed=1)(z)
    finally:
        keras.config.set_image_data_format(before)
    assert decoded.shape == images.shape


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float32"])
def test_the_decoder_ends_in_float32(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        decoded = build_decoder(NetworkSpec(**SMALL), seed=1)(np.zeros((1, 2), "float32"))
    finally:
        keras.config.set_dtype_policy(before)
    assert decoded.dtype == "float32"
