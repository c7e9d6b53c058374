#!/usr/bin/env bash
# JAX 0.10.2 and 0.12.0.1 on a CPU: forward and reverse mode of `lax.reduce_window` with `lax.max` disagree where
# a window that reaches into the padding holds its maximum twice. Reverse mode gives the gradient to the first
# pixel row by row, (2, 2) below; forward mode to (3, 1), the first column by column. A gradient of a gradient
# mixes both. Without padding they agree.
# Guessed: one pixel, whatever the mode.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
JAX_PLATFORMS=cpu "$folder/venv/bin/python" - <<'PYTHON'
import jax
import jax.numpy as jnp
import numpy as np

print("jax", jax.__version__, "numpy", np.__version__)
x = jnp.array([[1.0, 1, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1], [0, 1, 0, 0]])


def pool(x, padding):
    edges = ((0, padding), (0, padding))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (3, 3), (2, 2), edges)


def winners(jacobian, padding, window):
    found = jax.jit(lambda x: jacobian(lambda x: pool(x, padding))(x))(x)
    return np.argwhere(np.asarray(found)[window]).tolist()


reverse, forward = (winners(mode, 1, (1, 0)) for mode in (jax.jacrev, jax.jacfwd))
print("window (1, 0), padded: reverse mode", reverse, "forward mode", forward)
assert (reverse, forward) == ([[2, 2]], [[3, 1]])
assert winners(jax.jacrev, 0, (0, 0)) == winners(jax.jacfwd, 0, (0, 0)) == [[0, 0]]
PYTHON
