"""tract, by its Python package."""

import tract


def load(file, option):
    def run(images):
        model = tract.onnx().load(file)
        kind = {"uint8": "u8", "float32": "f32"}[str(images.dtype)]
        model.set_input_fact(0, ",".join(map(str, images.shape)) + "," + kind)
        return model.into_model().into_runnable().run([images])[0].to_numpy()

    return run
