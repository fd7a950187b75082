"""What all verbs share: the application, the meaning of common options, and how a result is printed."""

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

import galaxysd

AsJson = Annotated[bool, Parameter(name="--json", negative=(), show_default=False, help="Print the result as JSON.")]
Out = Annotated[Path, Parameter(help="Folder to write to.")]
Seed = Annotated[int, Parameter(help="Seed of everything random.")]
Device = Annotated[str, Parameter(help="Where to compute: cpu, cuda, cuda:1, mps.")]
Limit = Annotated[int | None, Parameter(help="At most so many galaxies.")]
Encoder = Annotated[
    str, Parameter(help="galaxyemb, a trained encoder's folder, pixels, untrained, or transformers:NAME-OR-FOLDER.")
]
Model = Annotated[str, Parameter(help="A shipped model (mini) or a model folder.")]

app = App(
    name="galaxysd",
    help="Dream galaxies of a described morphology, and use them to find the real ones.",
    version=galaxysd.__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)


def show(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print a result: as JSON, or the text."""
    print(json.dumps(result, indent=2, ensure_ascii=False) if as_json else text)


def counted(n: int, one: str, many: str) -> str:
    """A number and its noun: "1 galaxy", "1,000 galaxies"."""
    return f"{n:,} {one if n == 1 else many}"
