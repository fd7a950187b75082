"""Packages import downwards only (docs/design.md), and `import galaxysd` stays light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import galaxysd

ROOT = Path(galaxysd.__file__).parent
TOP = ("cli", "demo", "__main__")  # may import every package
PACKAGES = (  # from the top down
    "app",
    "augmentation",
    "search",
    "evaluation",
    "vetting",
    "classifiers",
    "encoders",
    "generation",
    "diffusion",
    "training",
    "reports",
    "metrics",
    "data",
    "prompts",
    "catalog",
    "stats",
    "runs",
    "nn",
    "io",
    "settings",
    "types",
    "errors",
)
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def package_of(path: Path) -> str:
    """The package a source file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_packages(source: str) -> Iterator[str]:
    """Every package that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            root, *rest = name.split(".")
            if root == "galaxysd" and rest and not rest[0].startswith("__version"):
                yield rest[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_downwards(path: Path) -> None:
    package = package_of(path)
    assert package in (*TOP, *PACKAGES), f"{path}: a package that the design does not know"
    if package in TOP:
        return
    allowed = PACKAGES[PACKAGES.index(package) :]
    upwards = set(imported_packages(path.read_text(encoding="utf-8"))) - set(allowed)
    assert not upwards, f"{path.relative_to(ROOT)} imports {sorted(upwards)}, which lie above {package}"


def test_there_is_no_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers")]


def test_the_check_itself_sees_every_kind_of_import() -> None:
    lines = ["import galaxysd", "import galaxysd.app.store", "def f():", "    from galaxysd import cli"]
    source = "\n".join([*lines, "    from galaxysd.data.x import y"])
    assert set(imported_packages(source)) == {"app", "cli", "data"}


def modules_after(*arguments: str) -> set[str]:
    """Modules that a fresh Python has imported when it is done."""
    result = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return {line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}


HEAVY = {"torch", "numpy", "polars", "pyarrow", "PIL", "pydantic", "scipy", "astropy", "diffusers", "jinja2", "yaml"}


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert not HEAVY & modules_after("-c", "import galaxysd")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["generate", "--help"], ["catalog", "build", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    found = modules_after("-m", "galaxysd", *arguments)
    assert "galaxysd.cli" in found
    assert not HEAVY & found


def test_public_names_are_found_on_demand() -> None:
    from galaxysd.diffusion.pipeline import GalaxyPipeline
    from galaxysd.errors import InputError
    from galaxysd.prompts import Morphology

    assert galaxysd.GalaxyPipeline is GalaxyPipeline
    assert galaxysd.InputError is InputError
    assert galaxysd.Morphology is Morphology
    with pytest.raises(AttributeError, match="no attribute 'Galaxy'"):
        _ = galaxysd.Galaxy  # type: ignore[attr-defined]
