"""The README and the documentation: short enough, with links that exist and commands that are valid."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError

from galaxysd.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LOG = DOCS / "research_log"  # tells what was done with the code of its day
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *(path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts and LOG not in path.parents),
]

FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
FIGURE = re.compile(r"^```\{figure\} (\S+)", re.MULTILINE)

# Words of an older tongue, which nobody outside can know (docs: the field's nouns only).
PRIVATE = (
    r"straw m[ae]n|real-real|not to be told|asked for|told as|level in value|\bdream(s|ed)?\b|\b(floor|lesson|room)\b"
)
QUOTED = r"`[^`]*`|\"[^\"]*\"|\*\w+\*"


def code_blocks(text: str) -> Iterator[str]:
    """Everything that is shown as code: fenced or indented blocks, and spans."""
    for _, body in FENCE.findall(text):
        yield body
    plain = FENCE.sub("", text)
    indented = re.findall(r"(?:^    .*\n?)+", plain, re.MULTILINE)
    yield from (re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in indented)
    yield from re.findall(r"`([^`\n]+)`", plain)


def commands(text: str) -> Iterator[list[str]]:
    """Every command line of the package on a page, split into words."""
    for block in code_blocks(text):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if re.match(r"\s*galaxysd [a-z]", line) and "COMMAND" not in line and "..." not in line:
                yield shlex.split(line, comments=True)[1:]


def complete(words: list[str]) -> bool:
    """Whether a page gives a whole command, and not just the name of a verb."""
    return any(word.startswith("-") for word in words)


LINES = [(path, words) for path in PAGES for words in commands(path.read_text(encoding="utf-8"))]


def test_pages_give_many_commands() -> None:
    assert len(LINES) > 50
    verbs = {words[0] for _, words in LINES}
    assert verbs >= {"generate", "train", "evaluate", "augment", "discover", "vet", "publish", "catalog", "toy", "demo"}


@pytest.mark.parametrize(
    ("path", "words"), LINES, ids=[f"{path.stem}-{index}-{words[0]}" for index, (path, words) in enumerate(LINES)]
)
def test_a_command_is_valid(path: Path, words: list[str]) -> None:
    if not complete(words):
        words = [*words, "--help"]
    try:
        app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        pytest.fail(f"{path.relative_to(ROOT)}: galaxysd {shlex.join(words)}: {error}")


@pytest.mark.parametrize(
    "line", ["galaxysd generte bar --out x", "galaxysd generate bar --oout x", "galaxysd toy -n 5"]
)
def test_the_check_of_commands_finds_a_mistake(line: str) -> None:
    (words,) = commands(f"```bash\n{line}\n```\n")
    with pytest.raises(CycloptsError):
        app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = ["".join(groups) for groups in LINK.findall(FENCE.sub("", text))] + FIGURE.findall(text)
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target.partition("#")[0]).resolve()
        assert target.startswith("#") or file.exists(), f"{path.relative_to(ROOT)}: {target}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_on_pages_compiles(path: Path) -> None:
    for language, body in FENCE.findall(path.read_text(encoding="utf-8")):
        if language == "python":
            ast.parse(body)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pages_use_the_words_of_the_field(path: Path) -> None:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    text = re.sub(r"^    .*$", "", text, flags=re.MULTILINE)
    text = re.sub(rf"{QUOTED}|\]\([^)]*\)|<[^>]*>", " ", text)
    found = [match.group() for match in re.finditer(PRIVATE, text, re.IGNORECASE)]
    assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_the_readme_is_a_page() -> None:
    raw = (ROOT / "README.md").read_bytes()
    assert 6_000 <= len(raw) <= 7_200
    text = raw.decode()
    heights = re.findall(r'<img [^>]*height="(\d+)"', text)
    assert len(heights) == 1 and int(heights[0]) <= 420
    assert text.count("```mermaid") == 1
    limitations = text[text.index("## Limitations") :].partition("\n## ")[0]
    assert len(re.findall(r"^\d\. ", limitations, re.MULTILINE)) == 5
    tasks = text[text.index("## Five tasks") :].partition("\n## ")[0]
    assert len(re.findall(r"^\| .*`galaxysd ", tasks, re.MULTILINE)) == 5


@pytest.mark.slow
def test_the_quick_start_does_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = (body for language, body in FENCE.findall(text) if language == "python")
    assert len(code.splitlines()) <= 12
    exec(compile(code, "README.md", "exec"), {})
    expected = [line.rpartition("#")[2].strip() for line in code.splitlines() if line.startswith("print(")]
    assert capsys.readouterr().out.splitlines() == expected
    assert (tmp_path / "galaxy.png").is_file()
