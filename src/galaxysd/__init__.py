"""GalaxySD: dream galaxies of a described morphology, and use them to find the real ones.

`GalaxyPipeline`, `Morphology` and `InputError` can be imported from here; each is loaded when it is first asked for, so
that `import galaxysd` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.errors import InputError
    from galaxysd.prompts import Morphology

__version__ = "0.1.0"
__all__ = ["GalaxyPipeline", "InputError", "Morphology", "__version__"]

_HOMES = {
    "GalaxyPipeline": "galaxysd.diffusion.pipeline",
    "InputError": "galaxysd.errors",
    "Morphology": "galaxysd.prompts",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'galaxysd' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
