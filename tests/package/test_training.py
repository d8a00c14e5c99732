import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook.networks import NetworkSpec
from vaebook.routes import ROUTES
from vaebook.training import EpochLine, WeightScheduler, shuffled_batches


def model_with(weight=1e-3):
    return ROUTES["pass_through"].build(NetworkSpec(**SMALL), weight=weight, seed=1)


@pytest.mark.parametrize("verbose", [0, 1])
def test_each_epoch_gets_one_line(images, capsys, verbose):
    model, y = model_with(), ROUTES["pass_through"].targets(images)
    history = model.fit(images, y, epochs=2, verbose=verbose, callbacks=[EpochLine()]).history
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert lines == [
        f"epoch {epoch + 1}  "
        + "  ".join(
            f"{name} {history[key][epoch]:.4f}"
            for name, key in [
                ("loss", "loss"),
                ("reconstruction", "reconstruction_loss"),
                ("mu", "mu_loss"),
                ("log_var", "log_var_loss"),
            ]
        )
        for epoch in range(2)
    ]


def test_the_line_stands_under_the_progress_bar(images, capsys):
    y = ROUTES["pass_through"].targets(images)
    model_with().fit(images, y, verbose=2, callbacks=[EpochLine()])
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("epoch 1  loss ")


def test_validation_comes_after_training(images, capsys):
    y = ROUTES["pass_through"].targets(images)
    model_with().fit(images, y, validation_data=(images, y), verbose=0, callbacks=[EpochLine()])
    line = capsys.readouterr().out
    words = [word for word in line.split()[2:] if not word[0].isdigit()]
    parts = ["loss", "reconstruction", "mu", "log_var"]
    assert words == parts + [f"val_{part}" for part in parts]


def test_a_weight_follows_its_schedule(images):
    weight = keras.Variable(0.0)
    model, y = model_with(weight), ROUTES["pass_through"].targets(images)
    history = model.fit(
        images,
        y,
        epochs=3,
        verbose=0,
        callbacks=[WeightScheduler(weight, lambda epoch: 0.5 * epoch)],
    ).history
    assert history["weight"] == [0, 0.5, 1]
    assert history["mu_loss"][0] == 0
    assert np.all(np.array(history["mu_loss"][1:]) > 0)


def test_a_number_cannot_follow_a_schedule():
    with pytest.raises(TypeError, match="Expected a keras.Variable.*Received: weight=0.5"):
        WeightScheduler(0.5, lambda epoch: 1.0)


def test_a_negative_weight_is_refused(images):
    weight = keras.Variable(0.0)
    with pytest.raises(ValueError, match="weight ≥ 0 for epoch 0. Received: -1.0"):
        model_with(weight).fit(
            images,
            ROUTES["pass_through"].targets(images),
            verbose=0,
            callbacks=[WeightScheduler(weight, lambda epoch: -1)],
        )


def orders(dataset, epochs=3):
    return [np.concatenate([batch.numpy() for batch in dataset]) for _ in range(epochs)]


def test_shuffled_batches_come_in_another_order_in_each_epoch():
    keras.utils.set_random_seed(1)
    first, second, third = orders(shuffled_batches(np.arange(50), batch_size=8))
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


def test_one_seed_gives_the_same_orders_again():
    one, other = (orders(shuffled_batches(np.arange(50), seed=3)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_shuffled_batches_keep_x_and_y_together():
    x = np.arange(10)
    y = {"a": 2 * x, "b": np.zeros((10, 0))}
    for images, targets in shuffled_batches(x, y, batch_size=4, seed=1):
        np.testing.assert_array_equal(targets["a"], 2 * images)
        assert targets["b"].shape == (len(images), 0)


def test_shuffled_batches_refuse_arrays_of_different_lengths():
    with pytest.raises(ValueError, match="Expected x and y of one length"):
        shuffled_batches(np.arange(3), np.arange(4))
