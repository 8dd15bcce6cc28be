#!/usr/bin/env bash
# triton 3.9.0: a program that imports it and calls gc.freeze(), as Python's documentation advises before a fork, prints
# some 30 lines "nanobind: leaked ..." on stderr when it ends, although it leaks nothing: what is frozen is not collected
# at exit, and the bindings take that for a leak. Without gc.freeze() it prints nothing. torch 2.15's FLOP counter
# imports triton, so counting a CNN's FLOPs is enough. Expected: silence, or a report that knows frozen objects.
# Exits 1 when that changes. Takes 1.1 GB in a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check triton==3.9.0
plain=$("$folder/venv/bin/python" -c 'import triton' 2>&1 | grep -c leaked || true)
frozen=$("$folder/venv/bin/python" -c 'import gc, triton; gc.freeze()' 2>&1 | grep -c leaked || true)
echo "triton 3.9.0: $plain lines about leaks without gc.freeze(), $frozen with it"
test "$plain" = 0 && test "$frozen" -gt 10
