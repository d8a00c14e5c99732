import keras
import numpy as np
import pytest
from test_networks import SMALL
from vaebook import plots
from vaebook.networks import NetworkSpec, build_decoder


def test_reconstructions_stand_below_their_images(images):
    figure = plots.reconstructions(images, 1 - images)
    assert len(figure.axes) == 12
    upper, lower = (figure.axes[i].images[0].get_array() for i in (2, 8))
    assert np.allclose(upper, images[2, ..., 0])
    assert np.allclose(lower, 1 - images[2, ..., 0])


@pytest.mark.parametrize("reconstructed", [np.zeros((5, 8, 8, 1)), np.zeros((6, 8, 8))])
def test_reconstructions_of_another_shape_are_refused(images, reconstructed):
    with pytest.raises(ValueError, match=r"one shape .* Received: shapes \(6, 8, 8, 1\) and"):
        plots.reconstructions(images, reconstructed)


def test_each_class_is_drawn_as_its_digit():
    z = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    groups = plots.latent_scatter(z, [7, 3, 7]).axes[0].collections
    assert [group.get_offsets().tolist() for group in groups] == [[[2, 3]], [[0, 1], [4, 5]]]


@pytest.mark.parametrize(
    ("z", "classes"), [(np.zeros((3, 3)), [1, 2, 3]), (np.zeros((3, 2)), [1])]
)
def test_points_that_are_not_in_a_plane_are_refused(z, classes):
    with pytest.raises(ValueError, match=r"shape \(n, 2\) and n classes. Received: shape"):
        plots.latent_scatter(z, classes)


class Coordinates:
    """A decoder whose image shows z: 10 · z0 + z1, and in the top row 100 more."""

    def predict(self, z, verbose):
        value = 10 * z[:, 0] + z[:, 1]
        images = np.tile(value[:, None, None, None], (1, 2, 2, 1))
        images[:, 0] += 100
        return images


def test_the_grid_shows_each_point_at_its_place_and_upright():
    axes = plots.latent_grid(Coordinates(), reach=1, steps=3).axes[0]
    picture = axes.images[0]
    left, right, bottom, top = picture.get_extent()
    canvas = picture.get_array()  # its first row lies at the top
    assert picture.origin == "upper"
    assert axes.get_ylim()[0] < axes.get_ylim()[1]

    def shown_at(x, y):
        column = int((x - left) / (right - left) * canvas.shape[1])
        row = int((top - y) / (top - bottom) * canvas.shape[0])
        return canvas[row, column]

    for x in (-1, 0, 1):
        for y in (-1, 0, 1):
            assert shown_at(x, y - 0.2) == pytest.approx(10 * x + y)
            assert shown_at(x, y + 0.2) == pytest.approx(10 * x + y + 100)


def test_the_grid_takes_a_decoder():
    decoder = build_decoder(NetworkSpec(**SMALL))
    assert isinstance(decoder, keras.Model)
    assert plots.latent_grid(decoder, steps=2).axes[0].images[0].get_array().shape == (16, 16)


def test_loss_curves_show_the_history():
    history = {
        "loss": [3.0, 2.0],
        "reconstruction_loss": [2.5, 1.5],
        "mu_loss": [0.4, 0.2],
        "log_var_loss": [0.1, 0.3],
    }
    figure = plots.loss_curves(history)
    lines = [line for axes in figure.axes for line in axes.lines]
    shown = {line.get_label(): list(line.get_ydata()) for line in lines}
    assert shown == history
    assert [list(line.get_xdata()) for line in lines] == 4 * [[1, 2]]
