import keras
import numpy as np
import pytest
from vaebook.losses import MuLoss
from vaebook.metrics import MeanLoss

MU = np.array([[1.0], [2.0], [3.0]], "float32")  # mu²: 1, 4, 9


def test_each_image_counts_once():
    metric = MeanLoss(MuLoss())
    metric.update_state(MU[:2], MU[:2])
    metric.update_state(MU[2:], MU[2:])
    assert float(metric.result()) == pytest.approx(14 / 3)


def test_sample_weights_count_as_in_the_objective():
    metric = MeanLoss(MuLoss())
    metric.update_state(MU, MU, sample_weight=np.array([2.0, 0.0, 1.0]))
    assert float(metric.result()) == pytest.approx((2 + 9) / 3)


def test_it_survives_serialisation():
    copy = keras.metrics.deserialize(keras.metrics.serialize(MeanLoss(MuLoss(0.5), "mine")))
    assert (copy.name, copy.loss.weight) == ("mine", 0.5)


def test_what_is_no_loss_is_refused():
    with pytest.raises(TypeError, match="a keras.losses.Loss. Received: loss='mse'"):
        MeanLoss("mse")


def test_a_weight_that_changes_counts_as_it_is():
    weight = keras.Variable(1.0)
    metric = MeanLoss(MuLoss(weight))
    weight.assign(3.0)
    metric.update_state(0.0, np.array([[1.0, 2.0]], "float32"))
    assert float(metric.result()) == pytest.approx(3 * (1 + 4) / 2)
