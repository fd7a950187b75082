"""How Sphinx builds this documentation: `make docs`, without network, with warnings as errors.

The lists of public names and of commands are not written down anywhere: they are asked of the package while it builds.
"""

import inspect
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "src"))

import galaxysd  # noqa: E402

project = "GalaxySD"
author = "The GalaxySD developers"
copyright = "2026, The GalaxySD developers"
version = release = galaxysd.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"GalaxySD {release}"
html_static_path = ["_static"]
html_css_files = ["galaxysd.css"]
html_copy_source = html_show_sourcelink = False
templates_path: list[str] = []

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Types of numpy, torch, pydantic and of the package's own inner modules have no page here.
nitpick_ignore_regex = [("py:.*", ".*")]

PUBLIC_NAMES, COMMANDS, CARD = "<!-- public names -->", "<!-- commands -->", "<!-- card -->"


def public_names() -> str:
    """Every public name of the package: a table, then each in full."""
    names = [name for name in galaxysd.__all__ if not name.startswith("_")]
    lines = ["```{eval-rst}", ".. currentmodule:: galaxysd", "", ".. autosummary::", "   :nosignatures:", ""]
    lines += [f"   {name}" for name in names] + ["```", ""]
    for name in names:
        thing = getattr(galaxysd, name)
        kind = "autofunction" if inspect.isroutine(thing) else "autoclass" if inspect.isclass(thing) else "autodata"
        lines += [f"## {name}", "", "```{eval-rst}", f".. {kind}:: galaxysd.{name}"]
        lines += ["   :members:", "   :exclude-members: model_config"] if kind == "autoclass" else []
        lines += ["```", ""]
    return "\n".join(lines)


def commands() -> str:
    """Every command with its options, from the application itself."""
    from galaxysd.cli import app

    text: str = app.generate_docs(output_format="markdown", recursive=True)
    return text[text.index("\n## galaxysd ") :]


def card() -> str:
    """The card of the shipped generator, one heading level down."""
    weights = Path(galaxysd.__file__).parent / "diffusion" / "weights" / "mini"
    text = (weights / "README.md").read_text(encoding="utf-8")
    return re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)


def fill(app: object, name: str, source: list[str]) -> None:
    """Put the generated lists where a page asks for them."""
    for mark, made in ((PUBLIC_NAMES, public_names), (COMMANDS, commands), (CARD, card)):
        if mark in source[0]:
            source[0] = source[0].replace(mark, made())
    if name.startswith("results/"):  # a number stays beside its interval
        source[0] = re.sub(r"(\d) \[(\S+), (\S+)\]", "\\1\u00a0[\\2,\u00a0\\3]", source[0])


def setup(app: "object") -> None:
    """Called by Sphinx."""
    app.connect("source-read", fill)  # type: ignore[attr-defined]
