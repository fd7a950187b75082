"""The example scripts run on the toy survey: with tiny trainings and, where it is quick, with the shipped model."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny_model import save_tiny_model

from galaxysd.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow


def run(script: str, *arguments: str | Path) -> str:
    """Run an example in a process of its own and return what it printed."""
    command = [sys.executable, str(EXAMPLES / script), *(str(one) for one in arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny", size=64)


def test_every_example_is_tested_and_listed() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    tested = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f'run("{name}"' in tested and f"({name})" in listed for name in scripts)


def test_generate(tmp_path: Path) -> None:
    out = run("generate.py", "-n", "2", "--out", tmp_path / "g.png")
    assert out.splitlines()[-1] == f"8 galaxies in {tmp_path / 'g.png'}"
    with Image.open(tmp_path / "g.png") as sheet:
        assert sheet.size == (128, 256)


def test_minimal_flow(tmp_path: Path) -> None:
    code = (EXAMPLES / "minimal_flow.py").read_text(encoding="utf-8").split('"""')[2]
    assert "import galaxysd" not in code and "from galaxysd" not in code
    lines = [line for line in code.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(lines) <= 60
    main(["toy", "--out", str(tmp_path / "toy"), "-n", "64", "--size", "32"])
    out = run("minimal_flow.py", tmp_path / "toy", "--images", "64", "--out", tmp_path / "f.png")
    assert out.startswith("loss 0.")
    with Image.open(tmp_path / "f.png") as sheet:
        assert sheet.size == (8 * 32, 4 * 32)


def test_evaluate_your_images(tmp_path: Path) -> None:
    out = run("evaluate_your_images.py", "--quick", "--encoder", "pixels", "-n", "260", "--out", tmp_path / "o")
    assert out.count("the report is at") == 2 and (tmp_path / "o" / "compared.html").is_file()


def test_augment_few_labels(model: Path, tmp_path: Path) -> None:
    arguments = ("--quick", "--model", model, "--encoder", "pixels", "-n", "150", "--shots", "6")
    run("augment_few_labels.py", *arguments, "--out", tmp_path / "o")
    assert (tmp_path / "o" / "report" / "report.html").is_file()


def test_search_survey(model: Path, tmp_path: Path) -> None:
    arguments = ("--quick", "--model", model, "--encoder", "pixels", "-n", "200", "--candidates", "12")
    out = run("search_survey.py", *arguments, "--out", tmp_path / "o")
    assert "among 12 candidates" in out
    assert (tmp_path / "o" / "catalogue" / "catalogue.fits").is_file()
