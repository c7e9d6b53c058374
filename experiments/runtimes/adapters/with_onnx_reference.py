"""The ONNX project's own reference evaluator."""

from onnx.reference import ReferenceEvaluator


def load(file, option):
    evaluator = ReferenceEvaluator(file)
    [name] = map(str, evaluator.input_names)

    def run(images):
        [logits] = evaluator.run(["logits"], {name: images})
        return logits

    return run
