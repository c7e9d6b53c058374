"""The state before the first step."""

import jax
import pytest

from alexnet_jax.config import OptimizerConfig
from alexnet_jax.network.model import init_params
from alexnet_jax.network.networks import NETWORKS
from alexnet_jax.training.steps import init_state


@pytest.mark.parametrize("seed", (0, 2**31, 2**33 + 5))
def test_any_seed_gives_the_parameters_of_its_key(seed):
    network = NETWORKS["digits"]
    state = init_state(network, OptimizerConfig(), network.image_size, seed)
    params = init_params(network, network.image_size, seed)
    pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(params), strict=True)
    assert all((a == b).all() for a, b in pairs)
    assert (state.key == jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1))).all()
