import io
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from vaebook import data
from vaebook.data import DatasetUnavailable, load_images


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A machine without MNIST: no variable, nothing cached."""
    monkeypatch.delenv("VAEBOOK_MNIST", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "datasets" / "mnist.npz"


@pytest.fixture
def little_mnist(monkeypatch):
    """Four small arrays that count as the genuine MNIST for the length of a test."""
    arrays = {
        "x_train": np.arange(3 * 28 * 28, dtype="uint8").reshape(3, 28, 28),
        "y_train": np.array([5, 0, 4], "uint8"),
        "x_test": np.full((2, 28, 28), 255, "uint8"),
        "y_test": np.array([7, 2], "uint8"),
    }
    monkeypatch.setattr(
        data,
        "MNIST_SHA256",
        {
            name: data.hashlib.sha256(array.tobytes()).hexdigest()
            for name, array in arrays.items()
        },
    )
    return arrays


@pytest.fixture
def serve(monkeypatch):
    """Answer the download of MNIST with given bytes, from this machine."""
    servers = []

    def start(content, declared=None):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(declared or len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            data, "MNIST_URL", f"http://127.0.0.1:{server.server_port}/mnist.npz"
        )

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def unreachable(monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr(data, "MNIST_URL", f"http://127.0.0.1:{port}/mnist.npz")


def saved(path, arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)
    return path


def check(images):
    assert images.x_train.dtype == images.x_test.dtype == np.float32
    assert images.x_train.shape[1:] == images.x_test.shape[1:] == (28, 28, 1)
    assert 0 <= images.x_train.min() < images.x_train.max() <= 1
    assert len(images.x_train) == len(images.y_train)
    assert len(images.x_test) == len(images.y_test)


def test_digits_come_with_scikit_learn():
    digits = load_images("digits")
    check(digits)
    assert (digits.name, len(digits.x_train), len(digits.x_test)) == (
        "digits",
        1408,
        389,
    )
    assert set(digits.y_train) == set(range(10))


def test_an_enlarged_digit_keeps_its_ink():
    digits = load_images("digits")
    original = data.load_digits().images[:DIGITS] / 16
    assert digits.x_train[:DIGITS].mean() == pytest.approx(original.mean(), rel=0.02)


DIGITS = 100


def test_the_named_file_is_taken(tmp_path, monkeypatch, little_mnist):
    monkeypatch.setenv("VAEBOOK_MNIST", str(saved(tmp_path / "mine.npz", little_mnist)))
    images = load_images("auto")
    check(images)
    assert images.name == "mnist"
    assert images.x_train[0, 0, 5, 0] == np.float32(5 / 255)
    assert images.y_train.tolist() == [5, 0, 4]


def test_the_cached_file_is_taken(empty_cache, little_mnist):
    saved(empty_cache, little_mnist)
    assert load_images("mnist", n_train=2, n_test=1).x_train.shape == (2, 28, 28, 1)


def test_a_download_is_checked_and_kept(empty_cache, little_mnist, serve, tmp_path):
    serve(saved(tmp_path / "source.npz", little_mnist).read_bytes())
    assert len(load_images("mnist").x_train) == 3
    assert [path.name for path in empty_cache.parent.iterdir()] == ["mnist.npz"]


def test_a_wrong_download_is_refused_and_leaves_nothing(
    empty_cache, little_mnist, serve, tmp_path
):
    wrong = {**little_mnist, "y_test": np.array([7, 3], "uint8")}
    serve(saved(tmp_path / "source.npz", wrong).read_bytes())
    with pytest.raises(ValueError, match=r"genuine MNIST, with y_test of SHA-256 .*mnist.npz"):
        load_images("auto")
    assert list(empty_cache.parent.iterdir()) == []


def test_a_download_that_breaks_off_is_refused(empty_cache, little_mnist, serve, tmp_path):
    whole = saved(tmp_path / "source.npz", little_mnist).read_bytes()
    serve(whole[:1000], declared=len(whole))
    with pytest.raises(ValueError, match=r"damaged .*the download from http.*mnist\.npz"):
        load_images("auto")
    assert list(empty_cache.parent.iterdir()) == []


def test_a_truncated_file_is_refused_by_name(empty_cache, little_mnist):
    whole = saved(empty_cache, little_mnist).read_bytes()
    empty_cache.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"Received a damaged .*mnist\.npz\. Remove it"):
        load_images("auto")


def test_a_damaged_file_is_refused_by_name(empty_cache, little_mnist):
    whole = bytearray(saved(empty_cache, little_mnist).read_bytes())
    middle = len(whole) // 3
    whole[middle : middle + 20] = b"x" * 20
    empty_cache.write_bytes(whole)
    with pytest.raises(ValueError, match=r"Received .*mnist\.npz"):
        load_images("mnist")


def npy_bytes():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x93NUMPY", npy_bytes()])
def test_another_file_is_refused_by_name(tmp_path, monkeypatch, content):
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    monkeypatch.setenv("VAEBOOK_MNIST", str(path))
    with pytest.raises(ValueError, match=r"Expected the MNIST file.*Received .*mine\.npz"):
        load_images("auto")


def test_an_archive_without_an_array_is_refused(tmp_path, monkeypatch, little_mnist):
    del little_mnist["y_test"]
    monkeypatch.setenv("VAEBOOK_MNIST", str(saved(tmp_path / "mine.npz", little_mnist)))
    with pytest.raises(ValueError, match="Expected the MNIST file.*y_test"):
        load_images("mnist")


def test_a_named_file_that_is_not_there_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("VAEBOOK_MNIST", str(tmp_path / "none.npz"))
    with pytest.raises(ValueError, match=r"VAEBOOK_MNIST. Received: .*none.npz"):
        load_images("auto")


def test_without_network_auto_warns_and_takes_the_digits(empty_cache, monkeypatch):
    unreachable(monkeypatch)
    with pytest.warns(UserWarning, match="MNIST is not at .* Using scikit-learn's digits"):
        images = load_images("auto", n_train=12_800, n_test=100)
    assert (images.name, len(images.x_train), len(images.x_test)) == (
        "digits",
        1408,
        100,
    )


def test_without_network_mnist_is_an_error(empty_cache, monkeypatch):
    unreachable(monkeypatch)
    with pytest.raises(DatasetUnavailable, match="cannot be downloaded"):
        load_images("mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "cifar"}, "'auto', 'mnist' or 'digits'. Received: 'cifar'"),
        (
            {"name": "digits", "n_train": -1},
            "n_train ≥ 0 or None. Received: n_train=-1",
        ),
        (
            {"name": "digits", "n_test": 390},
            "at most the 389 test images of digits. .* 390",
        ),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_images(**arguments)
