"""The two worlds and their storeys: an import only ever points down, and what is light stays light."""

from __future__ import annotations

import ast
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"

LEVELS = {
    "errors": 0,
    "settings": 0.5,  # a half: same storey in the drawing, but the second stands on the first
    "picture": 1,
    "architecture": 2,
    "weights": 2.5,
    "networks": 3,
    "losses": 3,
    "upscaling": 3,
    "data": 4,
    "evaluation": 4,
    "training": 5,
    "web": 6,
    "report": 6,
    "export": 6,
    "recipes": 6,
    "bench": 6.25,
    "cli": 7,
    "__main__": 8,
}
DOOR = 6.5
"""Level of each room's command.py: above every room, below cli, imported by nobody but its room's __init__."""
TRAINING_WORLD = ("networks", "losses", "data.loader", "training", "export", "bench", "recipes")
TORCH_ALLOWED = ("networks", "losses", "data.loader", "training", "export", "bench", "upscaling.pytorch")
HEAVY = ("numpy", "torch", "openvino", "pyvips", "tyro", "yaml", "rich", "safetensors", "gradio")


def modules() -> dict[str, Path]:
    """Name below srgan -> file: "cli", "picture.files", "picture" (its __init__); "" is srgan itself."""
    found = {}
    for path in (SOURCE / "srgan").rglob("*.py"):
        parts = path.relative_to(SOURCE / "srgan").with_suffix("").parts
        found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


MODULES = modules()


def imports(tree: ast.Module) -> Iterator[str]:
    """Absolute names of all modules that a file imports, in functions too; not what runs only as a script."""
    nodes: list[ast.AST] = [node for node in tree.body if not _is_script_part(node)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"relative import: {ast.unparse(node)}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole.removeprefix("srgan.") in MODULES else node.module
        nodes.extend(ast.iter_child_nodes(node))


def _is_script_part(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("__name__ == '__main__'", "TYPE_CHECKING")


def edges() -> list[tuple[str, str]]:
    """(importing module, imported module or outside package)."""
    return [(name, of) for name, path in sorted(MODULES.items()) for of in imports(ast.parse(path.read_text()))]


EDGES = edges()


def level(name: str) -> float:
    room, _, rest = name.partition(".")
    return DOOR if rest == "command" else LEVELS[room]


def below(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


def ours() -> list[tuple[str, str]]:
    return [(a, b.removeprefix("srgan.")) for a, b in EDGES if b.startswith("srgan.")]


def test_every_room_has_a_level() -> None:
    assert {name.partition(".")[0] for name in MODULES if name} <= set(LEVELS)


def test_an_import_only_points_down() -> None:
    wrong = [(a, b) for a, b in ours() if a and a.partition(".")[0] != b.partition(".")[0] and not level(b) < level(a)]
    assert not wrong


def test_commands_are_known_to_nobody_below() -> None:
    assert not [(a, b) for a, b in ours() if b.endswith(".command") and a != b.removesuffix(".command")]
    assert not [(a, b) for a, b in ours() if below(b, ("cli", "__main__")) and a != "__main__"]


def test_the_picture_world_imports_no_torch() -> None:
    wrong = [a for a, b in EDGES if b.partition(".")[0] in ("torch", "torchvision") and not below(a, TORCH_ALLOWED)]
    assert not wrong


def test_nobody_imports_torchvision() -> None:
    assert not [a for a, b in EDGES if b.partition(".")[0] == "torchvision"]


def test_the_picture_world_never_looks_at_the_training_world() -> None:
    wrong = [(a, b) for a, b in ours() if not below(a, TRAINING_WORLD) and below(b, TRAINING_WORLD)]
    assert not [edge for edge in wrong if edge[0] != "cli"]


def test_the_scan_sees_imports_in_functions_and_of_submodules() -> None:
    """The scan itself: a lazy import of torch counts, `from srgan import settings` is srgan.settings."""
    tree = ast.parse("from srgan import settings\ndef f():\n    import torch.nn\n    from srgan.picture import files")
    assert sorted(imports(tree)) == ["srgan.picture.files", "srgan.settings", "torch.nn"]
    assert ("upscaling.pytorch", "torch") in EDGES


@pytest.mark.parametrize(
    "code",
    [
        "import srgan, srgan.errors, srgan.settings, srgan.cli",
        "import sys, runpy; sys.argv = ['srgan', '--help']\n"
        "try: runpy.run_module('srgan', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0, end.code",
    ],
    ids=["import srgan", "srgan --help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(code: str) -> None:
    script = f"{code}\nimport sys\nprint('LOADED', *(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def test_help_takes_less_than_half_a_second_of_cpu() -> None:
    """The CPU time of the child, not the clock's, so that a busy machine is no failure; the least of three."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "srgan", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.5
