"""Runs in Paddle's environment: random values, the files, and the logits."""

import json
import platform

import numpy as np
import paddle
from paddle.vision.models import alexnet

rng = np.random.RandomState(0)
model = alexnet(num_classes=7)
model.eval()
for _, parameter in model.named_parameters():
    shape = parameter.shape
    fan_in = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
    std = 0.3 if len(shape) == 1 else (2 / fan_in) ** 0.5
    parameter.set_value(rng.normal(0, std, shape).astype("float32"))
images = rng.normal(size=(2, 3, 224, 224)).astype("float32")
logits = model(paddle.to_tensor(images)).numpy()
np.savez("data.npz", images=images, logits=logits)
paddle.save(model.state_dict(), "alexnet.pdparams")
paddle.save(model.state_dict(), "protocol2.pdparams", protocol=2)
paddle.save({"epoch": 3, "model": model.state_dict()}, "checkpoint.pdparams")
versions = {"python": platform.python_version(), "paddlepaddle": paddle.__version__}
with open("versions.json", "w") as file:
    json.dump(dict(versions, numpy=np.__version__), file)
