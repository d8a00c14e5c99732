"""What is left out of a style sheet, and what never is."""

import pytest
from small_sheets import shrink, smaller

USED = {"btn", "show", "table"}


@pytest.mark.parametrize(
    ("sheet", "left"),
    [
        (".btn { color: red; }", ".btn{color: red;}"),
        (".gone { color: red; }", ""),
        (".btn, .gone { color: red; }", ".btn{color: red;}"),
        (".btn.gone { color: red; }", ""),
        (".btn:not(.gone) { color: red; }", ".btn:not(.gone){color: red;}"),
        (":is(a, .btn) b, c { d: e }", ":is(a, .btn) b,c{d: e}"),
        ("h1 { margin: .5em }", "h1{margin: .5em}"),
        ("@media print { .gone { a: b } }", ""),
        ("@media print { .gone { a: b } p { a: b } }", "@media print{p{a: b}}"),
        (
            "@keyframes fade { from { a: b } to { c: d } }",
            "@keyframes fade{from { a: b } to { c: d }}",
        ),
        ('@import "a;b.css";\n.gone { a: b }', '@import "a;b.css";'),
        ('/* .btn { */ p { content: "}" }', 'p{content: "}"}'),
    ],
)
def test_a_rule_stays_if_something_can_match_it(sheet, left):
    assert smaller(sheet, USED) == left


def test_a_class_that_only_a_script_names_is_in_use(tmp_path):
    (tmp_path / "menu.js").write_text('box.classList.add("open")')
    sheet = tmp_path / "theme.css"
    sheet.write_text(".open { a: b } .shut { a: b } .page { a: b }")
    shrink(tmp_path, ['<p class="page">'])
    assert sheet.read_text() == ".open{a: b}\n.page{a: b}"
