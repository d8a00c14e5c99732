"""A process that gets SIGKILL goes on to the end of one that was never killed."""

import sys

import killed
import pytest


def test_a_killed_training_ends_as_one_that_was_not():
    row = killed.compare("direct_outputs", steps=1, kills=1, method="spawn")
    assert row["killed_after"][0] >= 1
    assert row["same"] == dict.fromkeys(killed.COMPARED, True)


def test_the_comparison_sees_another_order_of_the_images():
    metric = killed.OrderOfImages()
    images = killed.data()[:3]
    metric.update_state(images, None)
    assert int(metric.result()) == 1 * 0 + 2 * 1 + 3 * 2
    metric.reset_state()
    metric.update_state(images[::-1], None)
    assert int(metric.result()) == 31 * 8 + 1 * 2 + 2 * 1 + 3 * 0


def test_the_command_names_its_cases(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["killed.py", "nosuch"])
    with pytest.raises(SystemExit):
        killed.main()
    assert f"Expected cases out of {killed.NAMES}" in capsys.readouterr().err
