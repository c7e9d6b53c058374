"""A local page to try a network: a photo's answers, what speaks for them, its layers' responses.

No photo is kept.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from importlib import resources
from typing import Any

import jax
import numpy as np

from alexnet_jax.errors import BadImageError, InputError
from alexnet_jax.evaluation.views import averaged_views, choose_views
from alexnet_jax.insight.classifier import Classifier
from alexnet_jax.insight.explanation_pictures import TITLES, overlay
from alexnet_jax.insight.explanations import methods_of
from alexnet_jax.insight.images import MAX_FILE_BYTES, read_image
from alexnet_jax.insight.markup import photo_uri, png_uri
from alexnet_jax.network.filters import colour_shares, tower_pictures
from alexnet_jax.network.layers import Conv, parametric_layers

ANSWERS, MAPS = 5, 6
"""Best answers, and strongest maps of each tower and layer."""
VIEW_SIDE = 128  # of the pictures of views, pixels
_MISSING = "the demo page needs Starlette and uvicorn: pip install 'alexnet_jax[demo]'"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def describe_network(classifier: Classifier, source: str) -> dict[str, Any]:
    """Returns what the page shows before a photo: the network, and conv1's filters by tower."""
    kernel, towers, filters = classifier.kernel("conv1"), classifier.network.towers, []
    if kernel is not None:
        pictures = tower_pictures(kernel, towers, magnify=3)
        filters = [
            {"uri": png_uri(picture), "colour": share}
            for picture, share in zip(pictures, colour_shares(kernel, towers), strict=True)
        ]
    return {
        "network": classifier.network.name,
        "source": source,
        "classes": len(classifier.class_names),
        "filters": filters,
    }


def explain_photo(classifier: Classifier, data: bytes) -> dict[str, Any]:
    """Returns what the page shows of an image file: answers, views and maps, as PNG."""
    stored = read_image(data, classifier.stored_size, classifier.appearance)
    by_view = classifier.view_probabilities(stored[None])[0]  # [views, classes]
    view_options = classifier.stored_size, classifier.image_size, 10, classifier.mirrored_views
    side, views = classifier.image_size, []
    for view, odds in zip(choose_views(*view_options), by_view, strict=True):
        window = stored[view.y : view.y + side, view.x : view.x + side]
        window = np.ascontiguousarray(window[:, ::-1] if view.mirrored else window)
        views.append({"uri": photo_uri(window, VIEW_SIDE), **_best(classifier, odds, 1)[0]})
    layers = _conv_names(classifier)
    activations, towers = classifier.features(stored[None], layers), classifier.network.towers
    return {
        "photo": photo_uri(stored),
        "answers": _best(classifier, by_view.mean(axis=0), ANSWERS),
        "views": views,
        "averaged": averaged_views(*view_options).name,
        "layers": [
            {"name": name, "towers": strongest_maps(activations[name][0], towers)}
            for name in layers
        ],
    }


def locate_evidence(classifier: Classifier, data: bytes, label: int) -> dict[str, Any]:
    """Returns what the page shows of an image file and a label: its maps over the centre view."""
    stored = read_image(data, classifier.stored_size, classifier.appearance)[None]
    found = {m: classifier.explain(stored, m, label) for m in methods_of(classifier.network)}
    first = next(iter(found.values()))
    picture, answer = first.pictures[0], first.answers[0]
    maps = [
        {"name": TITLES[method], "uri": png_uri(overlay(picture, each.maps[0]))}
        for method, each in found.items()
    ]
    return {"name": answer.label, "probability": answer.probability, "maps": maps,
            "picture": photo_uri(picture)}  # fmt: skip


def _best(classifier: Classifier, odds: np.ndarray, count: int) -> list[dict[str, Any]]:
    order = np.argsort(-odds, kind="stable")[:count]
    return [
        {"name": classifier.class_names[i], "label": int(i), "probability": float(odds[i])}
        for i in order
    ]


def _conv_names(classifier: Classifier) -> list[str]:
    layers = parametric_layers(classifier.network.layers)
    return [layer.name for layer in layers if isinstance(layer, Conv)]


def strongest_maps(
    activations: np.ndarray, towers: int, count: int = MAPS
) -> list[list[dict[str, Any]]]:
    """Returns, per tower, the maps with the largest mean of float32 `[height, width, channels]`.

    Each has its channel (from 1), its mean, and a PNG; white is the layer's largest activation.
    """
    height, width, channels = activations.shape
    top = max(float(activations.max()), 1e-12)
    found = []
    for numbers in np.split(np.arange(channels), towers):
        means = activations[..., numbers].mean(axis=(0, 1))  # [channels / towers]
        maps = []
        for place in np.argsort(-means, kind="stable")[:count]:
            values = np.clip(activations[..., numbers[place]] / top, 0, 1)  # [height, width]
            grey = np.rint(255 * np.sqrt(values)).astype(np.uint8)  # the root shows faint ones
            uri = png_uri(np.repeat(grey[..., None], 3, axis=2))
            number, mean = int(numbers[place]) + 1, float(means[place])
            maps.append({"uri": uri, "channel": number, "mean": mean, "size": [height, width]})
        found.append(maps)
    return found


def make_app(classifier: Classifier, source: str, hosts: tuple[str, ...]) -> Any:
    """Returns an ASGI application that answers only requests which name one of `hosts`.

    This stops pages that point a name of theirs to this machine.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import Request
        from starlette.responses import HTMLResponse, JSONResponse
        from starlette.routing import Route
    except ImportError:
        raise InputError(_MISSING) from None
    page = resources.files("alexnet_jax.insight").joinpath("demo.html").read_text("utf-8")
    one_at_a_time = threading.Lock()
    network = describe_network(classifier, source)

    def answer(work: Callable[..., dict[str, Any]], *words: Any) -> dict[str, Any]:
        with one_at_a_time:
            return work(classifier, *words)

    async def get_page(request: Request) -> HTMLResponse:
        return HTMLResponse(page, headers=_HEADERS)

    async def get_network(request: Request) -> JSONResponse:
        return JSONResponse(network, headers=_HEADERS)

    async def post_photo(request: Request) -> JSONResponse:
        return await reply(request, explain_photo)

    async def post_evidence(request: Request) -> JSONResponse:
        try:
            label = int(request.query_params.get("label", ""))
        except ValueError:
            return JSONResponse({"error": "label should be a column's number"}, 422, _HEADERS)
        return await reply(request, locate_evidence, label)

    async def reply(request: Request, work: Any, *words: Any) -> JSONResponse:
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > MAX_FILE_BYTES:
                text = f"the file is larger than {MAX_FILE_BYTES // 2**20} MiB"
                return JSONResponse({"error": text}, 413, _HEADERS)
            parts.append(part)
        try:
            found = await asyncio.to_thread(answer, work, b"".join(parts), *words)
        except BadImageError as error:
            return JSONResponse({"error": f"this cannot be read: {error}"}, 422, _HEADERS)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 422, _HEADERS)
        return JSONResponse(found, headers=_HEADERS)

    routes = [
        Route("/", get_page),
        Route("/network", get_network),
        Route("/explain", post_photo, methods=["POST"]),
        Route("/evidence", post_evidence, methods=["POST"]),
    ]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return Starlette(routes=routes, middleware=[guard])


def serve(classifier: Classifier, source: str, host: str, port: int) -> None:
    """Serves the page until Ctrl-C; any `host` but loopback lets other machines in."""
    try:
        import uvicorn
    except ImportError:
        raise InputError(_MISSING) from None
    loopback = host in ("127.0.0.1", "localhost", "::1")
    app = make_app(classifier, source, ("127.0.0.1", "localhost", "[::1]") if loopback else ("*",))
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        text = f"cannot listen on {host}, port {port} ({why}); choose another --port"
        raise InputError(text) from None
    address = f"[{host}]" if ":" in host else host
    print(f"http://{address}:{listener.getsockname()[1]}/  (Ctrl-C ends it)", flush=True)
    if not loopback:
        print("other machines can reach this page: it has no password", flush=True)
    warm_up(classifier)
    with listener:
        uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


def warm_up(classifier: Classifier) -> None:
    blank = np.zeros((1, classifier.stored_size, classifier.stored_size, 3), np.uint8)
    classifier.view_probabilities(blank)
    jax.block_until_ready(classifier.features(blank, _conv_names(classifier)))
    if not classifier.untrained:
        for method in methods_of(classifier.network):
            classifier.explain(blank, method)
