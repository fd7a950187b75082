"""The documentation site builds without network and without a warning, and holds what it generates."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    result = subprocess.run(
        [*command, "-d", str(tmp_path / "trees"), str(ROOT / "docs"), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        timeout=280,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    html = tmp_path / "html"
    assert "galaxysd vet vote" in (html / "reference" / "cli.html").read_text(encoding="utf-8")
    assert "from_pretrained" in (html / "reference" / "api.html").read_text(encoding="utf-8")
    assert "withheld on purpose" in (html / "reference" / "model_card.html").read_text(encoding="utf-8")
