"""JPEGs without their end marker, as some cameras and broken downloads leave them."""

import re

import simplejpeg

from alexnet_jax.errors import BadImageError

_END = b"\xff\xd9"
_MARKER = re.compile(rb"\xff+([\x02-\xcf\xd8-\xfe])")  # no escaped 255, no restart
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)
_FRAMES = [code for code in range(0xC0, 0xD0) if code not in _NOT_FRAMES]
_SCAN = 0xDA
_MISSING = 99  # bits left out of a coefficient that no scan has


def lacks_end(data: bytes) -> bool:
    return not data.endswith(_END) and data.rfind(_END) < data.rfind(bytes((0xFF, _SCAN)))


def completed(data: bytes) -> bytes:
    """Returns a JPEG with the end marker that it lacks, if every pixel is there.

    libjpeg-turbo fills what is missing with grey, and its strict form refuses a scan with too few
    bits, unless zeros follow: they are removed first, as a whole scan never ends with a zero of its
    own.

    Raises:
      BadImageError: part of a scan or a whole one is missing, or other bytes follow the last.
    """
    whole = data.rstrip(b"\0")
    if whole.endswith(b"\xff") and whole != data:
        whole += b"\0"  # that zero belonged to the scan
    data = whole + _END
    try:
        colours = simplejpeg.decode_jpeg_header(data)[2]
        if not _has_all_scans(data):
            raise ValueError
        simplejpeg.decode_jpeg(
            data, {"Gray": "GRAY", "CMYK": "CMYK", "YCCK": "CMYK"}.get(colours, "RGB")
        )
    except ValueError:
        raise BadImageError("image file is truncated") from None
    return data


def _has_all_scans(data: bytes) -> bool:
    """Returns whether the scans hold every coefficient of every component to its last bit.

    libjpeg-turbo does not warn where whole scans are missing. ITU-T T.81, B.2.3: Ss and Se are the
    first and last coefficient, Al the bits left out.
    """
    left_out: dict[int, list[int]] = {}  # bits, by component and coefficient
    place = 2
    while (marker := _MARKER.search(data, place)) is not None and marker[1] != _END[1:]:
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
        segment = data[marker.end() + 2 : place]
        code = marker[1][0]
        if code in _FRAMES and len(segment) >= 6:
            left_out = {component: [_MISSING] * 64 for component in segment[6::3][: segment[5]]}
        elif code == _SCAN and segment and len(segment) >= 2 * segment[0] + 4:
            first, last, bits = segment[2 * segment[0] + 1 :][:3]
            for component in segment[1 : 2 * segment[0] : 2]:
                found = left_out.get(component, [])
                found[first : last + 1] = [bits & 15] * len(found[first : last + 1])
    return bool(left_out) and not any(any(bits) for bits in left_out.values())
