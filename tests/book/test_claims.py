"""The ledger of claims types no number of ours, and says for each claim where to look."""

import re

import pytest
from address import ROOT

PAGE = ROOT / "book" / "appendix" / "claims.md"
ROWS = re.findall(r"^\| (?!the article says)(.+) \|$", PAGE.read_text("utf8"), re.MULTILINE)
# What may hold a digit and is no measurement: a value of a cell, code, the sizes asked for.
NO_MEASUREMENT = r"\{glue:text\}`[^`]+`|`[^`]+`|At 256 latent variables|Keras [23]"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[:40])
def test_a_claim_is_measured_and_its_numbers_are_cells(row):
    claim, measured, verdict, chapter = row.split(" | ")
    assert claim
    assert verdict
    assert re.search(r"\]\((\.\./notebooks/[\w-]+\.ipynb|from-keras-2\.md)\)", chapter)
    assert not re.search(r"\d", re.sub(NO_MEASUREMENT, "", measured)), measured


def test_there_are_claims():
    assert len(ROWS) > 20
