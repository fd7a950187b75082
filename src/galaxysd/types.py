"""Names of the arrays that are handed around; the shape stands in the docstring of whoever takes one."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # images, 8-bit steps
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Labels = Ints  # numbers of classes
Features = npt.NDArray[np.floating[Any]]  # of an encoder, a row per galaxy
