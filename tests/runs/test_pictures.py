"""TensorBoard shows conv1's filters at every validation, and test images at the end."""

import dataclasses
import io

import numpy as np
from PIL import Image
from tensorboardX.proto import event_pb2

from alexnet_jax import workflow
from alexnet_jax.runs.metrics_log import MetricsLog


def pictures(folder):
    """Returns (step, tag, picture) of the images in TensorBoard's files."""
    found = []
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        while data:
            length = int.from_bytes(data[:8], "little")
            event: event_pb2.Event = event_pb2.Event.FromString(data[12 : 12 + length])  # type: ignore
            data = data[16 + length :]
            for value in event.summary.value:
                if value.HasField("image"):
                    image = Image.open(io.BytesIO(value.image.encoded_image_string))
                    found.append((event.step, value.tag, np.asarray(image)))
    return found


def test_a_picture_is_kept_as_it_is(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    log = MetricsLog(tmp_path, 0)
    log.add_picture(3, "a name", picture)
    log.close()
    ((step, tag, kept),) = pictures(tmp_path / "tensorboard")
    assert (step, tag) == (3, "a name")
    np.testing.assert_array_equal(kept, picture)


def test_records_opened_in_the_same_second_keep_what_was_written(tmp_path):
    for step in range(3):
        log = MetricsLog(tmp_path, 0)
        log.add_picture(step, "one", np.zeros((2, 2, 3), np.uint8))
        log.close()
    assert [step for step, _, _ in pictures(tmp_path / "tensorboard")] == [0, 1, 2]


def test_a_run_shows_filters_and_answers(config, dataset, tmp_path):
    data = dataclasses.replace(config.data, stored_size=10)
    config = dataclasses.replace(config, epochs=2, data=data)
    workflow.train(config, tmp_path / "run", dataset.path.parent, say=lambda text: None)
    found = pictures(tmp_path / "run" / "tensorboard")
    filters = [(step, picture.shape[2]) for step, tag, picture in found if tag == "filters/conv1"]
    assert filters == [(4, 3), (8, 3)]
    answers = [tag for _, tag, _ in found if tag.startswith("random/")]
    assert answers and all(", answer " in tag for tag in answers)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text()
    assert '"validation/colour_share_1"' in rows
