"""Pictures and drawings inside a page: `data:` addresses and SVG elements."""

import base64
import html
import io
from typing import Any

import numpy as np
from PIL import Image

PHOTO_SIDE = 256
JPEG_QUALITY = 80
TINY_SIDE = 64
"""Pictures up to this side are stored exactly, and enlarged by the page without smoothing."""


def is_tiny(image: np.ndarray) -> bool:
    """Returns whether a picture `[height, width, …]` is enlarged without smoothing."""
    return max(image.shape[:2]) <= TINY_SIDE


def png_uri(image: np.ndarray) -> str:
    """Returns uint8 `[height, width, 3 or 4]` as a `data:` address of a PNG."""
    return _data_uri(Image.fromarray(image), "PNG")


def photo_uri(image: np.ndarray, side: int = PHOTO_SIDE) -> str:
    """Returns a picture as a `data:` address: a JPEG no larger than `side`, or a tiny PNG."""
    if is_tiny(image):
        return png_uri(image)
    photo = Image.fromarray(image)
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _data_uri(photo, "JPEG", quality=JPEG_QUALITY, optimize=True)


def _data_uri(image: Image.Image, form: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def element(tag: str, content: str = "", **attributes: Any) -> str:
    """An element of SVG `content`; `class_` becomes `class`, `text_anchor` `text-anchor`."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{html.escape(_number(value), quote=True)}"'
        for name, value in attributes.items()
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return element("path", class_=style, d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    """Returns words, which need not be escaped, at a place."""
    return element("text", html.escape(words), class_=style, x=x, y=y, text_anchor=anchor)


def title(words: str) -> str:
    """Returns what a browser shows when the pointer rests on an element."""
    return element("title", html.escape(words))


def drawing(width: float, height: float, label: str, parts: list[str], **attributes: str) -> str:
    """Returns parts as an SVG element of the page; `label` is for screen readers."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", "".join(parts), **attributes, viewBox=box, role="img", aria_label=label)


def _number(value: Any) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
