import dataclasses
import itertools
import multiprocessing
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import Any

import jax
import numpy as np
import pytest

from alexnet_jax.config import AugmentConfig
from alexnet_jax.data import pipeline
from alexnet_jax.data.pipeline import device_prefetch, evaluation_batches, training_batches
from alexnet_jax.data.stream import Batch, stream_indices
from alexnet_jax.display import Display
from alexnet_jax.errors import DataError, InputError
from alexnet_jax.preparation.prepare import prepare
from alexnet_jax.presets import PRESETS

NOISE = AugmentConfig(colour_noise=0.1)


@dataclasses.dataclass(frozen=True)
class FakeSplit:
    """A split whose images carry their number, made from their index only, so that it pickles."""

    num_examples: int = 10
    size: int = 12
    broken: int = -1
    slow_seconds: float = 0.0

    @property
    def labels(self):
        return np.arange(self.num_examples, dtype=np.int32)

    @property
    def stored_size(self):
        return self.size

    def crops(self, indices, offsets, flips, out):
        for i, image in enumerate(self.images(indices)):
            top, left = offsets[i]
            crop = image[top : top + out.shape[1], left : left + out.shape[1]]
            out[i] = crop[:, ::-1] if flips[i] else crop

    def images(self, indices):
        indices = np.asarray(indices)
        if (indices == self.broken).any():
            raise DataError(f"Image {self.broken} cannot be decoded: prepare the data set again.")
        time.sleep(self.slow_seconds)
        grid = np.arange(self.size**2 * 3).reshape(self.size, self.size, 3)
        return ((indices[:, None, None, None] * 37 + grid[None]) % 251).astype(np.uint8)


def _stream(split=None, **changes):
    arguments: dict[str, Any] = dict(seed=3, batch_size=4, image_size=8, augment=NOISE, threads=0)
    return training_batches(split or FakeSplit(), **arguments | changes)


def _take(iterator, count):
    return list(itertools.islice(iterator, count))


def _assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for name in Batch._fields:
            x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y, err_msg=name)


def test_shapes_and_types():
    batch = next(_stream())
    shapes = {name: (str(a.dtype), a.shape) for name, a in batch._asdict().items()}
    assert shapes == {
        "images": ("uint8", (4, 8, 8, 3)),
        "labels": ("int32", (4,)),
        "mask": ("bool", (4,)),
        "colour": ("float32", (4, 3)),
        "offsets": ("int32", (4, 2)),
        "flips": ("bool", (4,)),
    }
    assert batch.mask.all()


def test_a_batch_holds_the_changed_images_of_its_labels():
    split = FakeSplit()
    for batch in _take(_stream(split), 5):
        for i, label in enumerate(batch.labels):
            top, left = batch.offsets[i]
            crop = split.images([label])[0, top : top + 8, left : left + 8]
            expected = crop[:, ::-1] if batch.flips[i] else crop
            np.testing.assert_array_equal(batch.images[i], expected)


@pytest.mark.parametrize("recipe", ["crop", "centre-crop", "resized-crop"])
def test_any_start_equals_the_straight_run(recipe):
    augment = AugmentConfig(recipe=recipe, colour_noise=0.1, rotation_degrees=20)
    straight = _take(_stream(augment=augment), 12)
    for start in (0, 1, 2, 5, 11):
        _assert_same(
            _take(_stream(augment=augment, first_step=start), 12 - start), straight[start:]
        )


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 10, 13, 25])
def test_every_image_comes_once_per_epoch(batch_size):
    steps = -(-40 // batch_size)
    labels = np.concatenate([b.labels for b in _take(_stream(batch_size=batch_size), steps)])
    epochs = labels[:40].reshape(4, 10)
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_stream_does_not_depend_on_how_it_is_cut_into_batches():
    def joined(batch_size, steps):
        batches = _take(_stream(batch_size=batch_size), steps)
        return Batch(*(np.concatenate(arrays) for arrays in zip(*batches, strict=True)))

    _assert_same([joined(6, 5)], [joined(15, 2)])


def test_an_image_is_changed_anew_in_every_epoch():
    split = FakeSplit(num_examples=40)
    first, second = _take(_stream(split, batch_size=40), 2)
    a, b = np.argsort(first.labels), np.argsort(second.labels)
    for name in ("offsets", "colour"):
        same = (getattr(first, name)[a] == getattr(second, name)[b]).all(axis=1)
        assert same.mean() < 0.3
    assert (first.flips[a] != second.flips[b]).any()


def test_seeds_differ():
    assert (next(_stream(seed=1)).colour != next(_stream(seed=2)).colour).any()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_matter(threads):
    straight = _take(_stream(), 15)
    with closing(_stream(FakeSplit(slow_seconds=0.001), threads=threads)) as batches:
        _assert_same(_take(batches, 15), straight)


@pytest.mark.timeout(240)
def test_worker_processes_do_not_matter_resume_with_another_number_and_may_die():
    straight = _take(_stream(), 6)
    batches = _stream(workers=2, threads=1, first_step=2)
    on_device = [jax.device_put(b) for b in _take(batches, 4)]
    _assert_same(on_device, straight[2:])
    for process in multiprocessing.active_children():
        process.kill()
    with pytest.raises(DataError, match="before step .*: it was killed.* fewer workers than 2"):
        _take(batches, 50)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("options", [dict(threads=0), dict(threads=2), dict(workers=1)])
@pytest.mark.timeout(240)
def test_errors_of_a_worker_process_surface(options):
    broken = int(stream_indices(3, 10, 4, 1)[1][2])
    batches = _stream(FakeSplit(broken=broken), **options)
    next(batches)
    with pytest.raises(DataError, match=rf"^Image {broken} cannot be decoded"):
        next(batches)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_hanging_worker_processes_are_ended_and_no_others(monkeypatch):
    monkeypatch.setattr(pipeline, "HANGING_SECONDS", 25.0)
    other = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(200,))
    other.start()
    try:
        batches = _stream(FakeSplit(slow_seconds=1000), workers=2, threads=1)
        with pytest.raises(DataError, match="before step 0: .* within 25 s.* workers than 2"):
            next(batches)
        assert multiprocessing.active_children() == [other]
    finally:
        other.kill()


FORGETFUL = """
from alexnet_jax.config import AugmentConfig
from alexnet_jax.data.dataset import open_dataset
from alexnet_jax.data.pipeline import training_batches
split = open_dataset(FOLDER, 0).split("train")
options = dict(seed=0, batch_size=4, image_size=4, augment=AugmentConfig())
batches = training_batches(split, **options, workers=WORKERS)
next(batches)
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.timeout(240)
def test_a_program_that_does_not_close_its_batches_ends_quietly(tmp_path, workers):
    folder = prepare(PRESETS["digits"].data, tmp_path, display=Display(quiet=True))
    code = FORGETFUL.replace("FOLDER", repr(str(folder))).replace("WORKERS", str(workers))
    program = tmp_path / "program.py"
    program.write_text(code)
    result = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=120)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_nothing_starts_before_the_first_batch_and_close_ends_it():
    before = threading.active_count()
    batches = _stream(threads=3)
    assert threading.active_count() == before
    next(batches)
    batches.close()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_impossible_arguments():
    with pytest.raises(DataError, match="no images"):
        _stream(FakeSplit(num_examples=0))
    with pytest.raises(InputError, match="batch_size"):
        _stream(batch_size=0)
    with pytest.raises(InputError, match="workers"):
        _stream(workers=-1)
    with pytest.raises(InputError, match="A crop of 13 pixels"):
        next(_stream(image_size=13, threads=1))


def test_a_late_step_is_as_quick_and_exact_as_the_first():
    step = 10**9 + 7
    batch = next(_stream(first_step=step))
    epochs, indices = stream_indices(3, 10, 4, step)
    np.testing.assert_array_equal(batch.labels, indices)
    np.testing.assert_array_equal(epochs, (step * 4 + np.arange(4)) // 10)


CHUNKS = AugmentConfig(colour_noise=0.1, crop_chunk=3)


def test_chunks_are_runs_of_an_epoch_and_end_with_it():
    split = FakeSplit(num_examples=40, size=64)
    batches = _take(_stream(split, augment=CHUNKS, batch_size=7), 12)  # two epochs and 4 images
    drawn = np.concatenate([np.c_[b.offsets, b.flips] for b in batches])
    for epoch in (drawn[:40], drawn[40:80]):
        chunks = [epoch[i : i + 3] for i in range(0, 40, 3)]  # the last is one image
        assert all((chunk == chunk[0]).all() for chunk in chunks)
        assert len(np.unique([chunk[0] for chunk in chunks], axis=0)) > 10
    assert (drawn[:40] != drawn[40:80]).any(axis=1).mean() > 0.8
    colours = np.concatenate([b.colour for b in batches])[:40]
    assert len(np.unique(colours, axis=0)) == 40


def test_chunks_do_not_depend_on_who_computes_which_rows():
    split = FakeSplit(num_examples=40, size=64)
    whole = _take(_stream(split, augment=CHUNKS, batch_size=8), 6)
    _assert_same(_take(_stream(split, augment=CHUNKS, batch_size=8, threads=3), 6), whole)
    _assert_same(_take(_stream(split, augment=CHUNKS, batch_size=8, first_step=4), 2), whole[4:])
    for rows in ((0, 3, 4), (7, 1)):
        some = _take(_stream(split, augment=CHUNKS, batch_size=8, rows=rows), 6)
        for part, batch in zip(some, whole, strict=True):
            for name in ("images", "offsets", "flips", "colour"):
                found, expected = getattr(part, name), getattr(batch, name)[list(rows)]
                np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize(("num_examples", "batch_size"), [(10, 4), (12, 4), (3, 8), (1, 1)])
def test_evaluation_counts_every_image_once(num_examples, batch_size):
    split = FakeSplit(num_examples=num_examples)
    batches = list(evaluation_batches(split, batch_size))
    assert {b.images.shape for b in batches} == {(batch_size, 12, 12, 3)}
    mask = np.concatenate([b.mask for b in batches])
    assert mask.sum() == num_examples
    images = np.concatenate([b.images for b in batches])
    labels = np.concatenate([b.labels for b in batches])
    np.testing.assert_array_equal(labels[mask], np.arange(num_examples))
    np.testing.assert_array_equal(images[mask], split.images(np.arange(num_examples)))
    assert not images[~mask].any() and not labels[~mask].any()
    assert not any(b.flips.any() or b.offsets.any() or b.colour.any() for b in batches)
    _assert_same(batches[:1], [b._replace() for b in evaluation_batches(split, batch_size)][:1])


def test_evaluation_of_nothing_is_empty():
    assert list(evaluation_batches(FakeSplit(num_examples=0), 4)) == []


@pytest.mark.timeout(120)
def test_evaluation_errors_surface_and_an_early_end_does_not_hang():
    batches = evaluation_batches(FakeSplit(broken=5), 4)
    assert next(batches).mask.all()
    with pytest.raises(DataError, match="Image 5"):
        next(batches)
    half = evaluation_batches(FakeSplit(num_examples=1000), 4)
    next(half)
    half.close()
    with pytest.raises(InputError, match="batch_size"):
        next(evaluation_batches(FakeSplit(), 0))


@pytest.mark.parametrize("size", [1, 2, 4])
def test_device_prefetch_keeps_some_batches_there_and_closes_its_source(size):
    put = []
    source = _stream(threads=1)
    batches = device_prefetch(source, size, put=lambda b: put.append(b) or jax.device_put(b))
    _assert_same(_take(batches, 3), _take(_stream(), 3))
    assert len(put) == 3 + size - 1
    batches.close()
    with pytest.raises(StopIteration):
        next(source)


def test_device_prefetch_ends_with_its_source():
    batches = list(device_prefetch(evaluation_batches(FakeSplit(), 4)))
    assert all(isinstance(a, jax.Array) for b in batches for a in b)
    _assert_same(batches, list(evaluation_batches(FakeSplit(), 4)))


def test_device_prefetch_shards_the_leading_axis():
    mesh = jax.make_mesh((4,), ("data",))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    batch = next(device_prefetch(_stream(), put=lambda batch: jax.device_put(batch, sharding)))
    assert batch.images.sharding == sharding
    assert {s.data.shape for s in batch.images.addressable_shards} == {(1, 8, 8, 3)}
    _assert_same([batch], [next(_stream())])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_each_batch_and_each_image_is_seen_once(count):
    """Their rows together are the batch of one process, in training and in tests."""
    shares = [tuple(range(i, 4, count)) for i in range(count)]
    epoch = [_take(_stream(rows=rows), 6) for rows in shares]
    for step, whole in enumerate(_take(_stream(), 6)):
        for rows, batches in zip(shares, epoch, strict=True):
            _assert_same([batches[step]], [Batch(*(array[list(rows)] for array in whole))])
    tests = [list(evaluation_batches(FakeSplit(), 4, rows=rows)) for rows in shares]
    for index, whole in enumerate(evaluation_batches(FakeSplit(), 4)):
        for rows, batches in zip(shares, tests, strict=True):
            np.testing.assert_array_equal(batches[index].images, whole.images[list(rows)])
            np.testing.assert_array_equal(batches[index].labels, whole.labels)
            np.testing.assert_array_equal(batches[index].mask, whole.mask)
