#!/bin/sh
# Install emotion with what `emotion serve` needs for exported models, without torch, in a new virtual environment.
# Usage, in the root of the repository: docker/install.sh DIRECTORY
set -eu

python="$1/bin/python"
python3 -m venv --without-pip "$1"
python3 -m pip --python "$python" install --no-cache-dir --no-compile -r docker/requirements.txt
python3 -m pip --python "$python" install --no-cache-dir --no-compile --no-deps -r docker/requirements-no-deps.txt .
find "$1/lib" -type d -name tests -prune -exec rm -rf {} +

# Modules that are used are compiled, since a container that is read-only cannot do it later.
"$python" - <<'END'
import numpy as np

import emotion.app.server
import emotion.cli
from emotion.inference import Predictor, timeline

speech = np.random.default_rng(0).normal(0, 0.1, (2, 32_000))
Predictor.shipped().predict(speech.T, sample_rate=32_000)
END
