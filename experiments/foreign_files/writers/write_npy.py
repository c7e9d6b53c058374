"""Runs in Python 2.7 and 3: a dictionary of [weights, biases], as caffe-tensorflow writes it."""

import json
import platform
import sys

import numpy as np

arrays = np.load("arrays.npz")
names = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
layers = dict((name, [arrays[name + "_w"], arrays[name + "_b"]]) for name in names)
output = sys.argv[1]
with open(output, "wb") as file:
    np.save(file, np.array(layers))  # 0-d, of an object
with open("versions_" + output + ".json", "w") as file:
    text = "Python " + platform.python_version() + " with numpy " + np.__version__
    json.dump({output + " by": text}, file)
