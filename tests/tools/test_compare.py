import pytest
from compare import difference, outputs_differ
from nbformat.v4 import new_output


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 25.8499", "loss 25.8507"),
        ("[0.    0.333]", "[0. 0.3330001]"),
        ("[ 0.5  1. ]", "[0.5 1.]"),
        ("[-0.0000001 0.5]", "[ 0.0000001 0.5]"),
        ("1e-05", "1.0001e-05"),
        ("noise 3.1e-08", "noise 7.7e-08"),
        ("nan 1.0", "nan 1.0001"),
        ("-0.0", "0.0"),
        ("v1.2.3", "v1.2.3"),
        ("12.5%", "12.50001%"),
        ("It is 0.25.", "It is 0.25001."),
        ("(0.25,-0.5)", "(0.25,-0.50001)"),
        ("1,234.5 images/s", "1,234.6 images/s"),
        ("<T at 0x7fed092ec350>", "<T at 0x7f0928390250>"),
        ("np.float32(0.25)", "np.float32(0.25001)"),
        ("{'loss': 0.25, 'n': 3}", "{'loss': 0.25001, 'n': 3}"),
        (
            '<img alt="a" src="data:image/png;base64,AAA="/>',
            '<img alt="a" src="data:image/png;base64,B"/>',
        ),
        (
            "<style>a {}</style><p>live</p><script>start(1.5)</script>",
            "<style>b {}</style><p>live</p><script>\nstart(2.5, 3)</script>",
        ),
    ],
)
def test_these_agree(stored, new):
    assert difference(stored, new) == ""


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 25.85", "loss 26.11"),  # 1 %
        ("loss 0.2048", "loss 0.2069"),  # 1 %
        ("It is 0.25.", "It is 0.26."),
        ("There are 229125.", "There are 229126."),  # an integer at the end of a sentence
        ("229,125 weights", "229,126 weights"),
        ("step 10 of 20", "step 11 of 20"),
        ("1 23", "12 3"),
        ("shape (2, 3)", "shape (2, 4)"),
        ("shape (2, 3)", "shape (2, 3, 1)"),
        ("-1.5", "1.5"),
        ("- 1.5", "+ 1.5"),
        ("1e-05", "1e-04"),
        ("1e-05", "2e-05"),
        ("nan", "0.0"),
        ("inf 1.0", "-inf 1.0"),
        ("1.0", "nan"),
        ("3.13.2", "3.13.3"),
        ("v1.2.3", "v1.2.4"),
        ("0.1ms", "0.2ms"),
        ("0.5 0.5", "0.5"),
        ("mu_loss 0.5", "log_var_loss 0.5"),
        ("float32", "float64"),
        ("True", "False"),
        ("0.25", "1"),
        ("1.0", "1"),
        ("", "0.25"),
        (
            '<img alt="a line" src="data:image/png;base64,A"/>',
            '<img alt="" src="data:image/png;base64,A"/>',
        ),
        ("<p>live</p><script>f()</script>", "<p>still</p><script>f()</script>"),
        ("<p>live</p><script>f()</script>", "<p>live</p>"),
        (
            "<script>f()</script> a <script>f()</script>",
            "<script>f()</script> b <script>f()</script>",
        ),
        ("<figcaption>Loss</figcaption>", "<figcaption>Loss per epoch</figcaption>"),
    ],
)
def test_these_differ_both_ways(stored, new):
    assert difference(stored, new)
    assert difference(new, stored)


def test_a_cell_may_ask_for_more_tolerance():
    assert difference("0.25", "0.29")
    assert not difference("0.25", "0.29", rtol=0.2)
    assert difference("0.0002", "0.0009")
    assert not difference("0.0002", "0.0009", atol=0.001)


def test_the_message_shows_the_stored_and_the_new_number():
    message = difference("epoch 1 loss 0.2625 mu 0.0017", "epoch 1 loss 0.2651 mu 0.0017")
    assert "stored 0.2625   new 0.2651" in message
    assert "rtol 0.001" in message
    assert "0.0017   new" not in message


def test_the_message_shows_the_line_whose_words_differ():
    message = difference("same\nmu_loss 1.0", "same\nlog_var_loss 1.0")
    assert "-mu_loss 1.0" in message
    assert "+log_var_loss 1.0" in message


def stdout(text):
    return new_output("stream", name="stdout", text=text)


def html(text):
    return new_output("display_data", {"text/html": text, "text/plain": "words"})


def test_a_lost_output_differs_and_so_does_a_new_one():
    assert "kinds of output differ" in outputs_differ([], [stdout("1")])
    assert outputs_differ([stdout("1")], [])
    assert outputs_differ([html("a")], [html("a"), html("a")])
    assert outputs_differ([html("a"), html("b")], [html("b"), html("a")])


def test_a_lost_picture_differs_though_pictures_are_not_compared():
    one, other = (new_output("display_data", {"image/png": data}) for data in ("A", "B"))
    assert not outputs_differ([one], [other])
    assert outputs_differ([one], [])


def test_parts_of_one_stream_are_one_text():
    assert not outputs_differ([stdout("ab")], [stdout("a"), html("x"), stdout("b")][::2])
    assert not outputs_differ([stdout("ab"), html("x")], [stdout("a"), html("x"), stdout("b")])


def test_what_goes_to_stderr_is_not_compared():
    assert not outputs_differ([], [new_output("stream", name="stderr", text="AVX2")])


def test_errors_are_compared_without_their_traceback():
    def error(name, text, line):
        return new_output("error", ename=name, evalue=text, traceback=[line])

    stored = error("ValueError", "Expected 1. Received: 0.25.", "line 1")
    assert not outputs_differ([stored], [error("ValueError", stored.evalue, "line 2")])
    assert outputs_differ([stored], [error("KeyError", stored.evalue, "line 1")])
    assert outputs_differ([stored], [error("ValueError", "Expected 2.", "line 1")])
    assert outputs_differ([stored], [])


def test_the_size_of_a_picture_is_part_of_the_picture():
    old = '<img alt="a line" src="data:image/png;base64,AB"/>'
    new = '<img alt="a line" src="data:image/webp;base64,CD" width="40" height="20"/>'
    assert difference(old, new) == ""
    assert difference(old, new.replace("a line", "a dot"))
