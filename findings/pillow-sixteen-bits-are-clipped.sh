#!/usr/bin/env bash
# Pillow 13.0.0, Image.convert("L") and ("RGB") of a 16-bit grey PNG (mode I;16): values are clipped at 255, not scaled.
# A microscope's or a CT's image, 2,500 to 42,500, becomes pure white without a word; a float TIFF in [0, 1] pure black.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 "numpy<3"
"$folder/venv/bin/python" - "$folder" <<'PY'
import sys
import numpy as np
import PIL
from PIL import Image

folder = sys.argv[1]
Image.fromarray(np.linspace(2500, 42500, 64).astype(np.uint16).reshape(8, 8)).save(f"{folder}/a.png")
Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(f"{folder}/b.tif")
seen = []
for name in ("a.png", "b.tif"):
    with Image.open(f"{folder}/{name}") as image:
        seen.append((image.mode, image.convert("L").getextrema()))
print(PIL.__version__, *seen)
sys.exit(seen != [("I;16", (255, 255)), ("F", (0, 1))])
PY
