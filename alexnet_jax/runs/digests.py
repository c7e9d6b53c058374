"""SHA-256 digests of arrays and of descriptions."""

import hashlib
import json
from typing import Any

import jax
import numpy as np

from alexnet_jax.network.placement import to_host


def digest_of(tree: Any) -> str:
    """Returns one digest over the paths and bytes of all leaves."""
    text = "".join(f"{path} {digest}\n" for path, digest in sorted(digests_of(tree).items()))
    return hashlib.sha256(text.encode()).hexdigest()


def digests_of(tree: Any) -> dict[str, str]:
    """Returns `{path of a leaf: digest of its bytes}`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): hashlib.sha256(
            np.ascontiguousarray(to_host(leaf)).data
        ).hexdigest()
        for path, leaf in leaves
    }


def digest_of_meta(meta: dict[str, Any]) -> str:
    """Ignores the `sha256` of `meta` itself."""
    content = {name: value for name, value in meta.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
