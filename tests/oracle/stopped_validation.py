"""`alexnet_jax.main` in float64, whose process 1 is told to stop in its first validation."""

import os
import signal
import sys
from unittest import mock

import float64
import jax

from alexnet_jax.main import main
from alexnet_jax.training import validation as validation_module

if __name__ == "__main__":
    evaluate = validation_module.evaluate

    def stopped(*arguments, **options):
        if jax.process_index() == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return evaluate(*arguments, **options)

    with float64.training(), mock.patch.object(validation_module, "evaluate", stopped):
        sys.exit(main())
