"""The order of the rooms: an import only points down, and what is light stays light."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
LEVELS = (
    {"errors", "config", "flags", "progress", "fs"},
    {"image"},
    {"model"},
    {"data", "upscale"},
    {"train"},
    {"evaluate", "export", "report", "serve"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
TORCH_ALLOWED = ("model", "data.loader", "train", "export", "upscale.pytorch", "commands")
TORCH_FREE = ("model.config", "model.weights")
HEAVY = ("numpy", "torch", "openvino", "pyvips", "yaml", "rich", "safetensors", "PIL")


def modules() -> dict[str, Path]:
    """Name below srgan -> file: "cli", "image.files", "image" (its __init__); "" is srgan itself."""
    names = {}
    for path in (SOURCE / "srgan").rglob("*.py"):
        parts = path.relative_to(SOURCE / "srgan").with_suffix("").parts
        names[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return names


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[str]:
    """Absolute names of all modules that a file imports, in functions too, but not under TYPE_CHECKING."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING"):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"relative import: {ast.unparse(node)}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole.removeprefix("srgan.") in MODULES else node.module
        nodes.extend(ast.iter_child_nodes(node))


EDGES = [(name, to) for name, path in sorted(MODULES.items()) for to in imports(ast.parse(path.read_text()))]
OURS = [(a, b.removeprefix("srgan.")) for a, b in EDGES if b.startswith("srgan.")]


def room(name: str) -> str:
    return name.partition(".")[0]


def level(name: str) -> int:
    return next(i for i, rooms in enumerate(LEVELS) if room(name) in rooms)


def below(name: str, parents: tuple[str, ...]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def test_an_import_points_down():
    between = [(a, b) for a, b in OURS if a and room(a) != room(b) and room(b) not in LEVELS[0]]
    assert not [(a, b) for a, b in between if not level(b) < level(a)]


def test_no_circles():
    remaining = {a: {b for x, b in OURS if x == a} - {a} for a in MODULES if a}  # "" is for users alone
    while leaves := [name for name, targets in remaining.items() if not targets & remaining.keys()]:
        for name in leaves:
            del remaining[name]
    assert not remaining


def test_only_these_import_torch():
    wrong = [a for a, b in EDGES if room(b) == "torch" and (not below(a, TORCH_ALLOWED) or below(a, TORCH_FREE))]
    assert not wrong
    assert not [a for a, b in EDGES if room(b) == "torchvision"]


def test_the_scan_sees_imports_in_functions_and_of_submodules():
    tree = ast.parse("from srgan import config\ndef f():\n    import torch.nn\n    from srgan.image import files")
    assert sorted(imports(tree)) == ["srgan.config", "srgan.image.files", "torch.nn"]
    assert ("upscale.pytorch", "torch") in EDGES


@pytest.mark.parametrize(
    ("code", "light"),
    [
        ("import srgan, srgan.errors, srgan.config, srgan.flags, srgan.cli", HEAVY),
        (
            "import sys, runpy; sys.argv = ['srgan', '--help']\n"
            "try: runpy.run_module('srgan', run_name='__main__')\n"
            "except SystemExit as end: assert end.code == 0, end.code",
            HEAVY,
        ),
        ("import srgan.commands.upscale, srgan.upscale.upscaler, srgan.upscale.openvino", ("torch",)),
        ("import srgan.commands.evaluate, srgan.commands.data, srgan.commands.info, srgan.data.check", ("torch",)),
    ],
    ids=["import srgan", "srgan --help", "upscale", "evaluate, data"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code, light):
    script = f"{code}\nimport sys\nprint('LOADED', *(name for name in {light} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_help_takes_less_than_half_a_second_of_cpu():
    """CPU time of the child, so that a busy machine is no failure; the least of three."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "srgan", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
