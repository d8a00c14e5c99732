"""The quick check finds the tests of what changed, and leaves out what takes long."""

import check
import pytest


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("src/vaebook/losses.py", "tests/package/test_losses.py"),
        ("tools/sync.py", "tests/tools/test_sync.py"),
        ("tests/tools/test_sync.py", "tests/tools/test_sync.py"),
        ("book/appendix/errors.md", "tests/book/test_errors.py"),
        ("src/vaebook/recorded/cost.json", "tests/tools/test_saving.py"),
        ("tools/records/cost.py", "tests/tools/test_saving.py"),
    ],
)
def test_a_file_leads_to_its_tests(path, test):
    assert test in check.plan([path], tensorflow=True)[0]


def test_words_are_always_checked():
    assert "tests/book/test_words.py" in check.plan([], tensorflow=False)[0]


def test_what_takes_minutes_is_left_to_make_test():
    tests, later = check.plan(["book/appendix/reports.md"], tensorflow=True)
    assert "tests/book/test_reports.py" not in tests
    assert later["takes minutes"] == ["tests/book/test_reports.py"]


def test_without_tensorflow_its_tests_are_left_out_and_named():
    tests, later = check.plan(["src/vaebook/losses.py", "tools/compare.py"], tensorflow=False)
    assert set(tests) - set(check.ALWAYS) == {"tests/tools/test_compare.py"}
    assert later["needs TensorFlow"] == ["tests/package/test_losses.py"]


def test_every_test_that_is_named_is_there():
    named = {*check.LIGHT, *check.MINUTES, *check.TESTS.values()}
    assert [name for name in named if not (check.ROOT / name).exists()] == []


def test_every_file_that_is_named_is_there():
    assert [name for name in check.TESTS if not (check.ROOT / name).exists()] == []
