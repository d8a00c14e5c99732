import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook.models import ComputeLossVAE, TrainStepVAE
from vaebook.networks import NetworkSpec, build_decoder, build_encoder

SPEC = NetworkSpec(**SMALL)
each_kind = pytest.mark.parametrize("kind", [ComputeLossVAE, TrainStepVAE])


def build(kind, regulariser=None):
    encoder = build_encoder(SPEC, seed=1)
    encoder.get_layer("mu").kernel.regularizer = regulariser
    model = kind(encoder, build_decoder(SPEC, seed=1), 0.25)
    model.compile("sgd", run_eagerly=True)
    return model


@each_kind
def test_the_images_are_their_own_target(kind):
    x = np.random.default_rng(0).uniform(size=(4, *SPEC.image_shape)).astype("float32")
    with_target, without = (
        build(kind).evaluate(x, y, verbose=0, return_dict=True) for y in (x, None)
    )
    assert with_target == pytest.approx(without)
    assert with_target["loss"] == pytest.approx(
        with_target["reconstruction_loss"] + with_target["kl_loss"]
    )


@each_kind
def test_a_regulariser_adds_its_penalty_to_the_loss(kind):
    x = np.random.default_rng(0).uniform(size=(4, *SPEC.image_shape)).astype("float32")
    penalised = build(kind, keras.regularizers.L2(1.0))
    kernel = penalised.encoder.get_layer("mu").kernel.numpy()
    more, plain = (
        model.evaluate(x, x, verbose=0, return_dict=True)["loss"]
        for model in (penalised, build(kind))
    )
    assert more - plain == pytest.approx(np.sum(kernel**2), rel=1e-4)
