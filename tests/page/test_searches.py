"""What people look for is among the first three results of the search of the built book."""

import pytest
from browser import served
from built import site

# The words, and the heads of the pages that answer.
SEARCHES = {
    "class_weight": ["16-"],
    "missing labels": ["16-"],
    "mask": ["16-"],
    "NaN loss": ["15-"],
    "KL is zero": ["15-"],
    "posterior collapse": ["15-"],
    "EarlyStopping monitor": ["08-", "16-"],
    "ModelCheckpoint": ["08-", "17-"],
    "resume training": ["17-"],
    "load custom loss": ["17-"],
    "metrics per output": ["06-", "16-"],
    "loss_weights": ["06-", "16-"],
    "named outputs": ["06-"],
    "regularizer": ["06-"],
    "add_loss": ["10-"],
    "cyclic annealing": ["programs"],
    "KerasTensor": ["03-"],
    "custom train_step": ["11-"],
    "output names": ["05-", "questions"],
    "several optimizers": ["programs"],
}
SHOWN = "#search-results h2"
LINKS = "return [...document.querySelectorAll('ul.search > li > a')].map((it) => it.href)"
WAIT = """
return new Promise((done) => {
  const until = performance.now() + 8000;
  const look = () => {
    const said = document.querySelector(arguments[0])?.innerText;
    if (said === "Search Results" || performance.now() > until) done(said);
    else setTimeout(look, 50);
  };
  look();
});"""


@pytest.fixture(scope="module")
def address():
    with served(site()) as where:
        yield where


@pytest.mark.parametrize("words", SEARCHES)
def test_the_first_three_results_hold_an_answer(browser, address, words):
    browser.open(f"{address}/search.html?q={words.replace(' ', '+')}")
    assert browser.run(WAIT, SHOWN) == "Search Results"
    first = browser.run(LINKS)[:3]
    wanted = [f"/{head}" for head in SEARCHES[words]]
    assert any(head in link for link in first for head in wanted), first
