"""Preparations that Ctrl-C interrupts between two shards."""

import contextlib

import pytest

from alexnet_jax.preparation import workers


@contextlib.contextmanager
def interrupted(monkeypatch, stop):
    """Interrupts before the first shard for which `stop(shard, names of those written)` is true."""
    written, real = [], workers.write_shard

    def write(folder, shard, stored, progress):
        if stop(shard, written):
            raise KeyboardInterrupt
        written.append(shard.file)
        return real(folder, shard, stored, progress)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(workers, "write_shard", write)
        yield written
