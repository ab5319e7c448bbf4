"""README and docs: every command in them parses, the quick ones run, every link leads somewhere."""

import ast
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml

import srgan
from srgan import cli, flags
from srgan.image import files
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.upscale.mixture import CORNERS
from tests.support import random_weights
from tests.train.small import SMALL

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELLS = ("console", "sh", "bash", "shell", "")
CLASSIC = ("train.py", "infer.py", "test.py")


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """One documented command: where it stands, and its words from `srgan` or the script's name on."""

    place: str
    words: tuple[str, ...]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page."""
    start, language, lines = 0, "", list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if fence and start:
            yield Block(page.name, start, language, "\n".join(lines))
            start = 0
        elif fence:
            start, language, lines = number, fence[1], []
        elif start:
            lines.append(line)
    assert not start, f"{page.name}: the block of line {start} is not closed"


def commands(text: str, place: str) -> Iterator[Command]:
    """Ours among the lines of a shell block, however they are started."""
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip().removeprefix("$ ")
        if not re.match(
            r"(([A-Z_]+=\S+|uv run|python|torchrun|srun|pip|time) .*)?\b(srgan|train\.py|infer\.py|test\.py)\b", line
        ):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;>")
        lexer.whitespace_split = True
        words = list(lexer)
        for start in (0, *(i + 1 for i, word in enumerate(words) if word in ("|", "&&", "||", ";"))):
            part = itertools.takewhile(lambda word: not set(word) <= set("|&;>"), words[start:])
            found = _ours(list(part))
            if found:
                yield Command(f"{place}: {line}", tuple(found))


def _ours(words: list[str]) -> list[str]:
    """From `srgan` or a classic script on, where that is what the words start; else nothing."""
    starters = ("uv", "run", "python", "torchrun", "srun", "sudo", "time", "nice")
    for i, word in enumerate(words):
        before = words[:i]
        launched = not before or before[0] in starters or "=" in before[0]
        if launched and (word == "srgan" or (word in CLASSIC and "python" in before)):
            return words[i:] if before[-1:] != ["install"] else []
    return []


BLOCKS = [block for page in PAGES if page.exists() for block in blocks(page)]
COMMANDS = [
    command
    for block in BLOCKS
    if block.language in SHELLS
    for command in commands(block.text, f"{block.page}:{block.line}")
]
INLINE = [
    Command(f"{page.name}: {code}", tuple(code.split()))
    for page in PAGES
    if page.exists()
    for code in dict.fromkeys(re.findall(r"`(srgan [a-z][^`\n]*)`", page.read_text(encoding="utf-8")))
]


class Parsed(BaseException):
    """The options were understood; nothing is run."""


@pytest.fixture
def parse_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every command stops when its options are read."""
    real = flags.parse

    def read(*arguments: Any, **named: Any) -> None:
        real(*arguments, **named)
        raise Parsed

    monkeypatch.setattr(flags, "parse", read)
    monkeypatch.chdir(tmp_path)


def classic(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"classic_{Path(name).stem}", ROOT / name)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_commands_on_every_page_that_should_have_some():
    """Guards the reading itself: a block that is not found is not checked."""
    pages = {command.place.partition(":")[0] for command in COMMANDS}
    assert {"README.md", "quickstart.md", "upscaling.md", "training.md", "evaluation.md"} <= pages
    shell = (
        "$ uv run --extra train srgan train --recipe quick  # minutes\npython test.py | tee srgan.log && srgan info x"
    )
    words = [command.words for command in commands(shell, "x")]
    assert words == [("srgan", "train", "--recipe", "quick"), ("test.py",), ("srgan", "info", "x")]
    assert not list(commands('pip install "srgan[train]"\ncd srgan\nls src/srgan\ntrain.py  the command', "x"))


@pytest.mark.usefixtures("parse_only")
@pytest.mark.parametrize("command", COMMANDS, ids=[command.place for command in COMMANDS])
def test_a_documented_command_parses(command, tmp_path, capsys):
    program, *argv = command.words
    for i, word in enumerate(argv):
        if word == "--config":
            (tmp_path / argv[i + 1]).write_text("{}\n")
    try:
        if program == "test.py":
            assert not argv
        elif program in CLASSIC:
            classic(program).options(argv)
        else:
            assert cli.main(argv) == 0, capsys.readouterr().err
    except Parsed:
        pass
    except SystemExit as end:
        assert end.code == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", INLINE, ids=[command.place for command in INLINE])
def test_an_inline_command_names_commands_and_options_that_exist(command, capsys):
    _, name, *rest = command.words
    assert name in cli.COMMANDS
    below = [rest.pop(0)] if name in ("data", "bench") and rest and rest[0].isalpha() and rest[0].islower() else []
    options = {re.split(r"[ =]", word)[0] for word in rest if re.match(r"--[a-z]", word)}
    if options:
        assert cli.main([name, *below, "--help"]) == 0
        known = set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))
        assert {option.replace("_", "-").rstrip(".,)") for option in options} <= known


def test_the_quickstart_runs(tmp_path, monkeypatch):
    """Every `srgan upscale` and `srgan info` of docs/quickstart.md but those that need a cluster, in order, with tiny models."""
    models = tmp_path / "models"
    models.mkdir()
    for seed, name in enumerate(CORNERS):
        tiny = random_weights(GeneratorConfig(blocks=1, width=4), seed=seed)
        weights.write(models / f"{name}.safetensors", tiny.tensors, config=tiny.config, metadata={})
    monkeypatch.setattr(weights, "_MODELS", models)
    (tmp_path / "runs/first").mkdir(parents=True)
    (tmp_path / "runs/first/srgan.safetensors").write_bytes((models / "srgan.safetensors").read_bytes())
    (tmp_path / "holiday/beach").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("photo.jpg", "holiday/a.jpg", "holiday/beach/b.png"):
        files.write_array(tmp_path / name, rng.integers(0, 256, (12, 16, 3), np.uint8))
    files.write_image(tmp_path / "scan.tif", files.Image(pixels=rng.integers(0, 65536, (9, 7, 3), np.uint16)))
    monkeypatch.chdir(tmp_path)
    run = [c for c in COMMANDS if c.place.startswith("quickstart.md") and c.words[1] in ("upscale", "info")]
    run = [c for c in run if "--ray" not in c.words]
    assert len(run) >= 6
    for command in run:
        assert cli.main(list(command.words[1:])) == 0, command.place
    assert files.size(tmp_path / "photo_x4.jpg") == (48, 64)
    assert files.size(tmp_path / "larger/beach/b.png") == (24, 32)
    assert files.read_image(tmp_path / "scan_x4.tif").pixels.dtype == np.uint16


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda b: f"{b.page}:{b.line}")
def test_python_in_the_docs_imports_what_exists(block):
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "srgan":
            assert {alias.name for alias in node.names} <= names_of(node.module or "")


def names_of(module: str) -> set[str]:
    """What a module defines or hands on, read from its source: PyTorch need not be loaded for it."""
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin, module
    found = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_the_names_of_the_api_exist():
    text = (ROOT / "docs/upscaling.md").read_text(encoding="utf-8")
    found = re.findall(r"`srgan\.([a-z_.]+)\.(\w+(?:\(.*?\))?`(?:, `\.\w+`)*)", text)
    assert len(found) >= 6
    for module, names in found:
        assert {*re.findall(r"\w+(?=[(`])", names)} <= names_of(f"srgan.{module}"), f"srgan.{module}.{names}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.exists()], ids=lambda page: page.name)
def test_nothing_is_left_to_fill_in(page):
    gaps = r"^RESULTS$|RESULTS_TABLE|\bSIZE_[A-Z]+|\bTODO\b|\bFIXME\b|\bXXX\b|/(?:root|home/\w+)/"
    assert not re.findall(gaps, page.read_text(encoding="utf-8"), flags=re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def test_the_paper_s_tests_and_files_exist():
    """Every test and every source file that docs/paper.md names."""
    text = (ROOT / "docs/paper.md").read_text(encoding="utf-8")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(tests) > 30
    assert not {name for name in tests if f"def {name}(" not in sources}
    files_named = re.findall(r"`((?:tests|model|train|data|image|evaluate)/[\w/]+\.py)`", text)
    assert not [n for n in files_named if not (ROOT / n).exists() and not (ROOT / "src/srgan" / n).exists()]


def test_the_example_adds_a_loss_in_three_edits(tmp_path):
    """The diffs of docs/development.md, applied to a copy of the source, give a flag, a loss and a line in the journal."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    edits = re.findall(
        r"^```diff (\S+)\n(.*?)^```", (ROOT / "docs/development.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(edits) == 3
    for name, diff in edits:
        lines = [line.removeprefix(" ") for line in diff.splitlines() if not line.startswith("+")]
        edited = [line[1:] for line in diff.splitlines()]
        source = (tmp_path / name).read_text()
        assert source.count("\n".join(lines)) == 1, f"{name} has no place for the example"
        (tmp_path / name).write_text(source.replace("\n".join(lines), "\n".join(edited)))
    command = [sys.executable, "-m", "srgan", *SMALL, "--edges-weight", "0.1", "--output", "run"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert '"edges"' in (tmp_path / "run/journal.jsonl").read_text()


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert first is not None
    assert project["version"] == srgan.__version__ == citation["version"] == first[1]
    assert project["license"] == citation["license"] == "MIT"
