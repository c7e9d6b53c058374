"""The numeric kernels of the networks: each `plain_*` defines what its namesake computes fast."""

from alexnet_jax.network.conv_ops import (
    Padding,
    accumulator,
    convolution,
    local_convolution,
    plain_convolution,
)
from alexnet_jax.network.norm_ops import (
    local_response_norm,
    plain_local_response_norm,
    plain_response_norm,
    response_norm,
    window_matrix,
)
from alexnet_jax.network.pool_ops import (
    adaptive_avg_pool,
    avg_pool,
    max_pool,
    plain_avg_pool,
    plain_max_pool,
)

__all__ = [
    "Padding",
    "accumulator",
    "adaptive_avg_pool",
    "avg_pool",
    "convolution",
    "local_convolution",
    "local_response_norm",
    "max_pool",
    "plain_avg_pool",
    "plain_convolution",
    "plain_local_response_norm",
    "plain_max_pool",
    "plain_response_norm",
    "response_norm",
    "window_matrix",
]
