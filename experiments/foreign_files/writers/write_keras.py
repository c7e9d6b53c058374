"""Runs in the environment of Keras 1.2 and Theano: the network, files, and logits.

Layers, order and names as heuritech/convnets-keras has them.
"""

import json
import platform

import h5py
import keras
import numpy as np
import theano
from keras import backend
from keras.layers import (
    Convolution2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    Lambda,
    MaxPooling2D,
    ZeroPadding2D,
    merge,
)
from keras.models import Model

backend.set_image_dim_ordering("th")


def normalized(x):
    """Across channels; alpha is not divided by the window."""

    def values(x):
        squares = backend.permute_dimensions(backend.square(x), (0, 2, 3, 1))
        padded = backend.spatial_2d_padding(squares, (0, 2))
        padded = backend.permute_dimensions(padded, (0, 3, 1, 2))
        total = sum(padded[:, i : i + x.shape[1]] for i in range(5))
        return x / (2.0 + 1e-4 * total) ** 0.75

    return Lambda(values, output_shape=lambda shape: shape)(x)


def half(x, which):
    def values(x):
        channels = x.shape[1] // 2
        return x[:, :channels] if which == 0 else x[:, channels:]

    return Lambda(values, output_shape=lambda s: (s[0], s[1] // 2, s[2], s[3]))(x)


def grouped(x, filters, window, name):
    name = name + "_{}"
    parts = [
        Convolution2D(filters // 2, window, window, activation="relu", name=name.format(i + 1))(
            half(x, i)
        )
        for i in range(2)
    ]
    return merge(parts, mode="concat", concat_axis=1)


def pooled(x):
    return MaxPooling2D((3, 3), strides=(2, 2))(x)


def padded(x, pixels):
    return ZeroPadding2D((pixels, pixels))(x)


images = Input(shape=(3, 227, 227))
x = Convolution2D(96, 11, 11, subsample=(4, 4), activation="relu", name="conv_1")(images)
x = grouped(padded(normalized(pooled(x)), 2), 256, 5, "conv_2")
x = padded(normalized(pooled(x)), 1)
x = Convolution2D(384, 3, 3, activation="relu", name="conv_3")(x)
x = grouped(padded(x, 1), 384, 3, "conv_4")
x = grouped(padded(x, 1), 256, 3, "conv_5")
x = Flatten()(pooled(x))
x = Dropout(0.5)(Dense(4096, activation="relu", name="dense_1")(x))
x = Dropout(0.5)(Dense(4096, activation="relu", name="dense_2")(x))
model = Model(input=images, output=Dense(7, name="dense_3")(x))

rng = np.random.RandomState(0)
for layer in model.layers:
    if layer.get_weights():
        shape, (biases,) = layer.get_weights()[0].shape, layer.get_weights()[1].shape
        fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        weights = rng.normal(size=shape) * np.sqrt(2.0 / fan_in)
        layer.set_weights([weights.astype("f4"), rng.normal(0, 0.3, biases).astype("f4")])
pixels = rng.uniform(-120, 130, size=(2, 3, 227, 227)).astype("f4")
np.savez("data.npz", images=pixels, logits=model.predict(pixels))
model.save_weights("alexnet_weights.h5", overwrite=True)
model.save("model.h5")
versions = {"python": platform.python_version(), "keras": keras.__version__}
versions.update(theano=theano.__version__, h5py=h5py.__version__, numpy=np.__version__)
with open("versions.json", "w") as file:
    json.dump(versions, file)
