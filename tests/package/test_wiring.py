from itertools import combinations

import numpy as np
import pytest
from matplotlib.patches import FancyArrowPatch
from vaebook import plots, wiring
from vaebook.behaviours import SPEC
from vaebook.routes import ROUTES

WHITE = (1.0, 1.0, 1.0)


each_route = pytest.mark.parametrize("name", ROUTES)


def boxes_of(figure):
    """Return the boxes of a drawing by name."""
    patches = figure.axes[0].patches
    return {patch.get_label(): patch for patch in patches if patch.get_label() in wiring._BOXES}


def filled_boxes(figure):
    return {name for name, box in boxes_of(figure).items() if box.get_facecolor()[:3] != WHITE}


def words_of_column(name, column):
    """Return what the boxes of one column say, from above."""
    boxes = [wiring._BOXES[box] for box in boxes_of(wiring.wiring(route=name))]
    chosen = sorted((box for box in boxes if box.column == column), key=lambda box: -box.row)
    return [box.text.replace("-\n", "") for box in chosen]


@pytest.mark.parametrize("part", wiring._PARTS)
@each_route
def test_the_drawing_fills_the_chosen_boxes(name, part):
    figure = wiring.wiring(part, name)
    filled = filled_boxes(figure)
    assert filled
    assert filled == set(wiring._PARTS[part]) & set(boxes_of(figure))


def test_every_route_has_a_drawing_of_its_own():
    assert list(wiring._CHAINS) == list(ROUTES)
    assert len({frozenset(wiring._arrows(name)) for name in ROUTES}) == len(ROUTES)


@each_route
def test_the_arrows_join_the_boxes_of_the_drawing(name):
    figure = wiring.wiring(route=name)
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    joined = [(arrow.patchA.get_label(), arrow.patchB.get_label()) for arrow in arrows]
    assert joined == wiring._arrows(name)
    assert {box for pair in joined for box in pair} == set(boxes_of(figure))
    assert all(start != end for start, end in joined)


@each_route
def test_the_drawing_shows_what_the_model_returns_and_what_fit_needs(name):
    images = np.zeros((2, *SPEC.image_shape), "float32")
    model = ROUTES[name].build(SPEC, seed=1)
    returned = model(images)
    outputs = list(returned) if isinstance(returned, dict) else ["reconstruction"]
    assert words_of_column(name, 4)[: len(outputs)] == outputs
    targets = ROUTES[name].targets(images)
    # Keras asks for the targets of those outputs only that have a loss.
    unread = len(set(targets) & set(model.loss)) - 1 if isinstance(targets, dict) else 0
    assert words_of_column(name, 6) == ["image"] + unread * ["target"]
    dashed = [
        box
        for box in boxes_of(wiring.wiring(route=name)).values()
        if box.get_linestyle() == "--"
    ]
    assert len(dashed) == unread


@each_route
def test_no_two_boxes_overlap_and_every_word_fits_into_one(name):
    figure = wiring.wiring(route=name)
    figure.canvas.draw()
    boxes = [box.get_window_extent() for box in boxes_of(figure).values()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    words = [
        text.get_window_extent()
        for text in figure.axes[0].texts
        if text.get_text() not in (*wiring._HEADS.values(), *wiring._FRAMES)
    ]
    assert len(words) == len(boxes)
    assert all(any(box.x0 < word.x0 < word.x1 < box.x1 for box in boxes) for word in words)


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="out of .*'encoder'.*Received: 'loss'"):
        wiring.wiring("loss")


def test_an_unknown_route_is_refused():
    with pytest.raises(
        ValueError, match="out of .*'pass_through'.*'train_step'.*Received: 'x'"
    ):
        wiring.wiring(route="x")


def test_chapters_find_the_drawing_among_the_figures():
    assert plots.wiring is wiring.wiring
