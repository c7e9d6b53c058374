"""Runs in MXNet's environment: random values, the files, and the logits."""

import json
import platform

import mxnet as mx
import numpy as np
from mxnet.gluon.model_zoo import vision

rng = np.random.RandomState(0)
net = vision.alexnet(classes=7)
net.initialize(mx.init.Xavier(magnitude=2))
net.hybridize()
images = mx.nd.array(rng.normal(size=(2, 3, 224, 224)))
net(images)  # makes the shapes known
for name, parameter in net.collect_params().items():
    shape = parameter.shape
    std = 0.3 if name.endswith("bias") else (2 / np.prod(shape[1:])) ** 0.5
    parameter.set_data(mx.nd.array(rng.normal(0, std, shape)))
np.savez("data.npz", images=images.asnumpy(), logits=net(images).asnumpy())
net.save_parameters("alexnet.params")
net.collect_params().save("named.params")
net.export("symbol")
versions = {"python": platform.python_version(), "mxnet": mx.__version__}
with open("versions.json", "w") as file:
    json.dump(dict(versions, numpy=np.__version__), file)
