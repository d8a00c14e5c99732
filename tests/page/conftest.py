import pytest
from browser import open_browser


@pytest.fixture(scope="session")
def browser():
    """One browser for all tests of pages; each opens what it needs in its only tab."""
    with open_browser() as it:
        yield it
