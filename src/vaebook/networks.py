"""The article's encoder and decoder, from one description of their sizes."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import keras
from vaebook._checks import whole
from vaebook.layers import Sampling

# AlphaDropout keeps the mean and variance that SELU is made for; plain dropout does not.
_ACTIVATIONS = {
    "leaky_relu": (keras.layers.LeakyReLU, keras.layers.Dropout),
    "relu": (keras.layers.ReLU, keras.layers.Dropout),
    "selu": (lambda: keras.layers.Activation("selu"), keras.layers.AlphaDropout),
}


def _wholes(name, values):
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) == 0:
        raise TypeError(f"Expected {name} to be a sequence of integers. Received: {values!r}.")
    return tuple(whole(name, value) for value in values)


@dataclass(frozen=True)
class NetworkSpec:
    """The sizes of an encoder and a decoder. The default is the network of part VI.

    Each layer of the encoder is a convolution, then batch normalisation (if any), then the
    activation, then dropout (if any). The decoder mirrors the encoder with transposed
    convolutions; its last layer is a sigmoid, without normalisation or dropout.

    Attributes:
        image_shape: (height, width, channels).
        latent_dim: the number of latent variables.
        encoder_filters, encoder_kernels, encoder_strides: one integer for each layer.
        decoder_filters, decoder_kernels, decoder_strides: likewise; the last filter count
            is the number of channels, and the strides undo the encoder's.
        activation: "leaky_relu", "relu" or "selu".
        batch_norm: whether to normalise each layer before its activation.
        dropout: the rate after each activation, 0 for none; with "selu" it is AlphaDropout.

    Raises:
        TypeError: for sizes that are not integers.
        ValueError: for sizes < 1, lists of different lengths, strides that do not divide the
            image or do not undo each other, an unknown activation, or a rate outside [0, 1).

    Source: part VI, class `MyVariationalAutoencoder`.
    """

    image_shape: tuple[int, int, int] = (28, 28, 1)
    latent_dim: int = 2
    encoder_filters: tuple[int, ...] = (32, 64, 128)
    encoder_kernels: tuple[int, ...] = (3, 3, 3)
    encoder_strides: tuple[int, ...] = (1, 2, 2)
    decoder_filters: tuple[int, ...] = (64, 32, 1)
    decoder_kernels: tuple[int, ...] = (3, 3, 3)
    decoder_strides: tuple[int, ...] = (2, 2, 1)
    activation: str = "leaky_relu"
    batch_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self):
        def store(name, value):
            object.__setattr__(self, name, value)  # the dataclass is frozen

        store("latent_dim", whole("latent_dim", self.latent_dim))
        store("image_shape", _wholes("image_shape", self.image_shape))
        if len(self.image_shape) != 3:
            raise ValueError(
                "Expected image_shape (height, width, channels). "
                f"Received: image_shape={self.image_shape}."
            )
        for part in ("encoder", "decoder"):
            names = [f"{part}_{what}" for what in ("filters", "kernels", "strides")]
            for name in names:
                store(name, _wholes(name, getattr(self, name)))
            lengths = {name: len(getattr(self, name)) for name in names}
            if len(set(lengths.values())) > 1:
                raise ValueError(
                    f"Expected filters, kernels and strides of one length. Received: {lengths}."
                )
        self._check_strides()
        if self.decoder_filters[-1] != self.image_shape[-1]:
            raise ValueError(
                f"Expected the last of decoder_filters to be the number of channels, "
                f"{self.image_shape[-1]}. Received: decoder_filters={self.decoder_filters}."
            )
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"Expected activation to be one of {sorted(_ACTIVATIONS)}. "
                f"Received: activation={self.activation!r}."
            )
        if not isinstance(self.batch_norm, bool):
            raise TypeError(
                f"Expected batch_norm True or False. Received: {self.batch_norm!r}."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Expected 0 ≤ dropout < 1. Received: dropout={self.dropout}.")

    def _check_strides(self):
        down, up = math.prod(self.encoder_strides), math.prod(self.decoder_strides)
        height, width, _ = self.image_shape
        if height % down or width % down:
            raise ValueError(
                f"Expected encoder_strides whose product divides {height} and {width}. "
                f"Received: encoder_strides={self.encoder_strides}, product {down}."
            )
        if up != down:
            raise ValueError(
                f"Expected decoder_strides whose product is the encoder's, {down}. "
                f"Received: decoder_strides={self.decoder_strides}, product {up}."
            )

    @property
    def feature_shape(self):
        """The shape (height, width, filters) where the encoder ends and the decoder begins."""
        height, width, _ = self.image_shape
        down = math.prod(self.encoder_strides)
        return (height // down, width // down, self.encoder_filters[-1])


class _Seeds:
    """One seed for each layer, so that one number fixes a whole network.

    Without a seed they come from Python's generator, as Keras's own do, and
    `keras.utils.set_random_seed` governs them.
    """

    def __init__(self, part, seed):
        if seed is None:
            self.source = random
        else:
            self.source = random.Random(f"{part} {whole('seed', seed, smallest=0)}")

    def next(self):
        return self.source.randrange(1, 2**31)

    def initializer(self):
        return keras.initializers.GlorotUniform(seed=self.next())


def _activate(spec, x, seeds):
    """Batch normalisation, activation and dropout, in this order."""
    activation, dropout = _ACTIVATIONS[spec.activation]
    if spec.batch_norm:
        x = keras.layers.BatchNormalization()(x)
    x = activation()(x)
    if spec.dropout:
        x = dropout(spec.dropout, seed=seeds.next())(x)
    return x


def build_encoder(spec: NetworkSpec, seed: int | None = None) -> keras.Model:
    """Return the encoder: from images to [z, mu, log_var], each of shape (batch, latent_dim).

    Args:
        spec: the sizes.
        seed: an integer ≥ 0 fixes the initial weights and the noise of `Sampling`; None
            leaves both to `keras.utils.set_random_seed`.

    Raises:
        TypeError, ValueError: for a seed that is not an integer ≥ 0.

    Source: part VI, `_build_enc`; chapter 4.
    """
    seeds = _Seeds("encoder", seed)
    image = x = keras.Input(spec.image_shape, name="encoder_input")
    sizes = zip(spec.encoder_filters, spec.encoder_kernels, spec.encoder_strides, strict=True)
    for number, (filters, kernel, stride) in enumerate(sizes):
        x = keras.layers.Conv2D(
            filters,
            kernel,
            strides=stride,
            padding="same",
            data_format="channels_last",  # whatever Keras's configuration says
            kernel_initializer=seeds.initializer(),
            name=f"encoder_conv_{number}",
        )(x)
        x = _activate(spec, x, seeds)
    x = keras.layers.Flatten(data_format="channels_last")(x)
    mu, log_var = (
        keras.layers.Dense(spec.latent_dim, kernel_initializer=seeds.initializer(), name=name)(
            x
        )
        for name in ("mu", "log_var")
    )
    z = Sampling(seed, name="z")([mu, log_var])
    return keras.Model(image, [z, mu, log_var], name="encoder")


def _decode(spec, seed):
    """Return the input z and the image that the decoder's layers make of it."""
    seeds = _Seeds("decoder", seed)
    z = keras.Input((spec.latent_dim,), name="z_input")
    x = keras.layers.Dense(
        math.prod(spec.feature_shape), kernel_initializer=seeds.initializer()
    )(z)
    x = keras.layers.Reshape(spec.feature_shape)(x)
    sizes = zip(spec.decoder_filters, spec.decoder_kernels, spec.decoder_strides, strict=True)
    last = len(spec.decoder_filters) - 1
    for number, (filters, kernel, stride) in enumerate(sizes):
        x = keras.layers.Conv2DTranspose(
            filters,
            kernel,
            strides=stride,
            padding="same",
            data_format="channels_last",  # whatever Keras's configuration says
            kernel_initializer=seeds.initializer(),
            name=f"decoder_conv_t_{number}",
        )(x)
        if number < last:
            x = _activate(spec, x, seeds)
    # In bfloat16 the largest probability below 1 is 0.996, too coarse for a cross-entropy.
    short = "16" in keras.config.dtype_policy().compute_dtype
    dtype = "float32" if short else None
    return z, keras.layers.Activation("sigmoid", dtype=dtype, name="reconstruction")(x)


def build_decoder(spec: NetworkSpec, seed: int | None = None) -> keras.Model:
    """Return the decoder: from z, shape (batch, latent_dim), to images in [0, 1].

    Args:
        spec: the sizes.
        seed: fixes the initial weights, as for `build_encoder`.

    Raises:
        TypeError, ValueError: for a seed that is not an integer ≥ 0.

    Source: part VI, `_build_dec` with `solution_type == 0`.
    """
    z, image = _decode(spec, seed)
    return keras.Model(z, image, name="decoder")


def build_pass_through_decoder(spec: NetworkSpec, seed: int | None = None) -> keras.Model:
    """Return the decoder from [z, mu, log_var] to [image, mu, log_var].

    Each of the two extra inputs passes through an identity `Activation` and meets no weight,
    so the image is that of `build_decoder(spec, seed)`.

    Args:
        spec: the sizes.
        seed: fixes the initial weights, as for `build_encoder`.

    Raises:
        TypeError, ValueError: for a seed that is not an integer ≥ 0.

    Source: part VI, `_build_dec` with `solution_type == 1`; chapter 5.
    """
    z, image = _decode(spec, seed)
    inputs, outputs = [z], [image]
    for name in ("mu", "log_var"):
        inputs.append(keras.Input((spec.latent_dim,), name=f"{name}_input"))
        outputs.append(keras.layers.Activation("linear", name=name)(inputs[-1]))
    return keras.Model(inputs, outputs, name="decoder")
