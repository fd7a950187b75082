"""The processes that share a training, one or several (torchrun), through accelerate."""

import torch
from accelerate import Accelerator


def processes() -> Accelerator:
    """The process at work and its fellows.

    accelerate joins processes without a GPU only if it is told to use the CPU; else each trains alone, and says
    nothing.
    """
    return Accelerator(cpu=not (torch.cuda.is_available() or torch.backends.mps.is_available()))
