#!/usr/bin/env bash
# Pillow opens three kinds of valid images whose samples it then gives wrongly, without a warning:
#  - a TIFF of 16-bit colours in separate, uncompressed planes: noise;
#  - a 16-bit grey TIFF in which white is zero: the negative (with 8 bits it is turned right);
#  - a PNG of 2-bit greys with a transparent grey: the greys are stretched to 0..255, that one is not,
#    so that it names a grey that no pixel has.
# Guessed: the first raises or is right, the other two are right. Controls: tifffile reads the TIFFs,
# the PNG's key is by the PNG standard (tRNS, greys of the image's own depth) the second of four.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.4.6 tifffile==2026.1.28
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import zlib

import numpy as np
import PIL
import tifffile
from PIL import Image

print("pillow", PIL.__version__, "numpy", np.__version__, "tifffile", tifffile.__version__)

ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
colours = np.stack([ramp, ramp.T, ramp[::-1]], -1)
tifffile.imwrite("planes.tif", colours.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
assert (tifffile.imread("planes.tif").transpose(1, 2, 0) == colours).all()
seen = np.asarray(Image.open("planes.tif").convert("RGB")).astype(int)
off = np.abs(seen - (colours >> 8)).mean()
print(f"planes of 16-bit colours: mode {Image.open('planes.tif').mode}, mean error {off:.0f} of 255")
assert off > 30

for kind in (np.uint8, np.uint16):
    grey = (ramp >> 8).astype(kind) if kind is np.uint8 else ramp
    tifffile.imwrite("white.tif", grey, photometric="miniswhite")
    assert (tifffile.imread("white.tif") == grey).all()
    seen = np.asarray(Image.open("white.tif")).astype(int)
    turned = (seen == np.iinfo(kind).max - grey.astype(int)).all()
    print(f"white is zero, {kind.__name__}: {'turned' if turned else 'left as a negative'}")
    assert turned == (kind is np.uint8) and (turned or (seen == grey).all())


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


rows = b"".join(b"\0" + bytes([0b00011011]) for _ in range(4))  # greys 0, 1, 2, 3 of two bits
with open("key.png", "wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">2I5B", 4, 4, 2, 0, 0, 0, 0)))
    file.write(chunk(b"tRNS", struct.pack(">H", 1)))
    file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
image = Image.open("key.png")
image.load()
greys = sorted(set(np.asarray(image).ravel().tolist()))
alpha = np.asarray(image.convert("RGBA"))[0, :, 3].tolist()
print(f"2-bit greys: pixels {greys}, key {image.info['transparency']}, alpha of a row {alpha}")
assert greys == [0, 85, 170, 255] and image.info["transparency"] == 1 and alpha == [255] * 4
print("as found")
PYTHON
