"""OpenCV's dnn module; `option` is an engine of OpenCV 5: `new`, `classic`, or nothing."""

import cv2


def load(file, option):
    engine = [getattr(cv2.dnn, "ENGINE_" + option.upper())] if option else []

    def run(images):
        network = cv2.dnn.readNetFromONNX(file, *engine)  # one that has run keeps its batch size
        network.setInput(images)
        return network.forward("logits")

    return run
