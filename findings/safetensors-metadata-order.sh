#!/usr/bin/env bash
# safetensors 0.8.0, save_file(tensors, path, metadata=...): several metadata keys are written in another order each time.
# Equal tensors with equal metadata give files of different bytes (a checksum of the file, or a run that is to be
# reproduced byte for byte, differs); with one key they are equal. Expected: the order given, or sorted keys.
# Exits 1 when that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 "numpy<3"
cat > "$folder/save.py" <<'PY'
import sys
import numpy as np
from safetensors.numpy import save_file

keys = "abcd"[: int(sys.argv[1])]
save_file({"x": np.zeros(3, np.float32)}, sys.argv[2], metadata={key: "1" for key in keys})
PY
for keys in 1 4; do
  for run in $(seq 12); do
    "$folder/venv/bin/python" "$folder/save.py" "$keys" "$folder/$keys-$run.safetensors"
  done
  different=$(sha256sum "$folder/$keys-"*.safetensors | cut -d' ' -f1 | sort -u | wc -l)
  echo "safetensors 0.8.0, $keys metadata keys: $different different files of 12"
  if [ "$keys" = 1 ]; then test "$different" = 1; else test "$different" -gt 1; fi
done
