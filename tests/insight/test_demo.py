"""The page to try a network: what it shows, what it refuses, and a browser that uses it."""

import contextlib
import io
import json
import socket
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from browser import chromium_page
from PIL import Image

from alexnet_jax.config import AugmentConfig, PreprocessConfig
from alexnet_jax.data.preprocess import Inputs
from alexnet_jax.errors import BadImageError, InputError
from alexnet_jax.insight import demo
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.explanation_pictures import overlay
from alexnet_jax.insight.markup import png_uri
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS

pytest.importorskip("starlette", reason="Starlette is not installed: pip install '.[demo]'")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")

NAMES = tuple("<b>ant</b> bee cat dog eel fox gnu hen ibis jay".split())


@pytest.fixture(scope="module")
def classifier():
    network = NETWORKS["digits"]
    inputs = Inputs(np.full(3, 120, np.float32), np.ones(3, np.float32), np.eye(3, dtype="f4"))
    return Classifier(
        network,
        init_params(network, 28, 0),
        inputs,
        NAMES,
        image_size=28,
        stored_size=32,
        preprocess_config=PreprocessConfig("channel", "none"),
        augment=AugmentConfig(),
    )


@pytest.fixture(scope="module")
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@contextlib.contextmanager
def served(classifier, hosts=("127.0.0.1",)):
    app = demo.make_app(classifier, "a test", hosts)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def ask(url, data=None, **headers):
    request = urllib.request.Request(url, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_a_photo_gets_the_answers_of_the_classifier(classifier, photo):
    found = demo.explain_photo(classifier, photo)
    best = classifier.predict([photo], top_k=5, views=10)[0]
    assert [answer["name"] for answer in found["answers"]] == [one.label for one in best]
    np.testing.assert_allclose(
        [answer["probability"] for answer in found["answers"]],
        [one.probability for one in best],
        rtol=1e-4,
    )
    assert len(found["views"]) == 10 and found["averaged"] == "ten views"
    assert [layer["name"] for layer in found["layers"]] == [f"conv{i}" for i in range(1, 6)]
    assert all(len(layer["towers"]) == 2 for layer in found["layers"])
    with pytest.raises(BadImageError):
        demo.explain_photo(classifier, b"junk")


@pytest.mark.slow
def test_evidence_is_that_of_the_classifier(classifier, photo):
    found = demo.locate_evidence(classifier, photo, 3)
    assert [one["name"] for one in found["maps"]] == ["saliency", "Grad-CAM", "occlusion"]
    explained = classifier.explain([photo], "occlusion", 3)
    assert found["name"] == "dog"
    # Saliency, the first of the maps, computes the answer in the plain form of convolutions.
    assert found["probability"] == pytest.approx(explained.answers[0].probability, rel=1e-5)
    expected = overlay(explained.pictures[0], explained.maps[0])
    assert found["maps"][2]["uri"] == png_uri(expected)
    assert found["picture"] == png_uri(explained.pictures[0])


def test_the_strongest_maps_of_each_tower_come_first():
    activations = np.zeros((3, 3, 8), np.float32)
    for channel, value in enumerate((0.1, 0.4, 0.2, 0.3, 0.8, 0.5, 0.6, 0.7)):
        activations[..., channel] = value
    left, right = demo.strongest_maps(activations, 2, 3)
    assert [one["channel"] for one in left] == [2, 4, 3]
    assert [one["channel"] for one in right] == [5, 8, 7]
    assert demo.strongest_maps(np.zeros((2, 2, 2), np.float32), 1)[0][0]["mean"] == 0


def test_the_server_answers_and_refuses(classifier, photo, monkeypatch):
    monkeypatch.setattr(demo, "MAX_FILE_BYTES", 200_000)
    with served(classifier) as address:
        status, page, headers = ask(address)
        assert status == 200 and b"Drop a photo" in page
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        status, network, _ = ask(f"{address}/network")
        assert (
            json.loads(network)["network"] == "digits" and len(json.loads(network)["filters"]) == 2
        )
        status, found, _ = ask(f"{address}/explain", photo)
        assert status == 200 and len(json.loads(found)["answers"]) == 5
        status, found, _ = ask(f"{address}/evidence?label=2", photo)
        assert status == 200 and json.loads(found)["name"] == "cat"
        for label, message in (("10", "label should be 0 to 9, not 10"), ("x", "number")):
            status, found, _ = ask(f"{address}/evidence?label={label}", photo)
            assert status == 422 and message in json.loads(found)["error"]
        status, found, _ = ask(f"{address}/explain", b"junk")
        assert status == 422 and "cannot be read" in json.loads(found)["error"]
        status, found, _ = ask(f"{address}/explain", bytes(200_001))
        assert status == 413 and "larger than" in json.loads(found)["error"]
        assert ask(address, Host="evil.example")[0] == 400, "a name that was pointed here"
        assert ask(f"{address}/explain")[0] == 405 and ask(f"{address}/etc/passwd")[0] == 404


def test_a_port_that_is_taken_is_one_clear_error(classifier):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(InputError, match="choose another --port"):
            demo.serve(classifier, "a test", "127.0.0.1", other.getsockname()[1])


def test_a_person_drops_a_photo(classifier, photo, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo)
    (tmp_path / "torn.png").write_bytes(b"junk")
    with chromium_page() as (page, problems), served(classifier) as address:
        page.goto(address)
        page.set_input_files("#file", tmp_path / "photo.png")
        page.wait_for_selector("#answers li")
        names = page.locator("#answers li span:first-child").all_text_contents()
        assert names == [one["name"] for one in demo.explain_photo(classifier, photo)["answers"]]
        assert page.locator("#answers b").count() == 0, "names are text, never markup"
        page.wait_for_selector("#evidence img")
        assert page.inner_text("#label") == names[0]
        assert page.locator("#tabs button").all_text_contents() == [
            one["name"] for one in demo.locate_evidence(classifier, photo, 0)["maps"]
        ]
        page.locator("#answers button").nth(1).click()
        page.wait_for_selector("#evidence img")
        page.get_by_role("tab", name="occlusion").click()
        assert page.inner_text("#label") == names[1] and "grey square" in page.inner_text(
            "#meaning"
        )
        label = NAMES.index(names[1])
        shown = page.locator("#evidence img").nth(1).get_attribute("src")
        assert shown == demo.locate_evidence(classifier, photo, label)["maps"][2]["uri"]
        assert page.locator("#views figure").count() == 10
        assert page.locator("#layers .maps").count() == 10 and "conv5" in page.inner_text("#layers")
        assert page.locator("#filters img").count() == 2
        for width in (380, 900, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not problems
        page.set_input_files("#file", tmp_path / "torn.png")
        page.wait_for_selector("#say.bad")
        assert "cannot be read" in page.inner_text("#say")
