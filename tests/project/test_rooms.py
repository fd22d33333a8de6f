"""Imports point one way: a room knows only the rooms before it.

Type-only imports and imports inside functions count too, since whoever reads a room has to know what they name. One
exception: ``show`` may be imported inside a function, for a ``__repr__`` or a progress bar. The root and ``__main__``
are the front door and may lead anywhere; so the root may be imported only where all that it offers is known.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import patchmill

PACKAGE = Path(__file__).parents[2] / "pipeline" / "patchmill"

ROOMS = (
    "errors",
    "types",
    "expressions",
    "conditions",
    "grid",
    "patches",
    "transforms",
    "planning",
    "storage",
    "sources",
    "reading",
    "inspecting",
    "ingesting",
    "cutting",
    "stitching",
    "show",
    "stages",
    "cli",
)
FRONT_DOOR = {"__init__", "__main__"}
# What any room may take from the root. All else there comes from other rooms, the last of them being this one.
ROOT_NAMES = {"__version__"}
ROOT_LEADS_TO = max((home.split(".")[1] for home in patchmill._HOMES.values()), key=ROOMS.index)


def imported_names(node: ast.AST, package: str) -> list[str]:
    """Full names that one statement imports; ``from a import b`` gives ``a.b``."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=module, names=names, level=level):
            parts = package.split(".")[: len(package.split(".")) - level + 1] if level else []
            base = ".".join([*parts, *([module] if module else [])])
            return [f"{base}.{alias.name}" for alias in names]
        case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module")):
            return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def wrong_imports(source: str, room: str, package: str = "patchmill") -> list[str]:
    """Lines of a module in `room` that import what lies behind it, as ``line: name``."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for statement in function.body
        for node in ast.walk(statement)
    }
    known = ROOMS[: ROOMS.index(room) + 1]
    wrong = []
    for node in ast.walk(tree):
        for name in imported_names(node, package):
            root, _, rest = name.partition(".")
            if root != "patchmill" or rest in ROOT_NAMES:
                continue
            target = rest.partition(".")[0]
            target = target if target in ROOMS else ROOT_LEADS_TO
            if target not in known and not (target == "show" and id(node) in inside):
                wrong.append(f"line {node.lineno}: {name}")
    return wrong


def modules() -> list[Path]:
    inside = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    return sorted(path for path in inside if path.with_suffix("").as_posix() not in FRONT_DOOR)


@pytest.mark.parametrize("path", modules(), ids=str)
def test_imports_point_upwards(path: Path):
    room = path.with_suffix("").parts[0]
    assert room in ROOMS, f"{room} has no place in the order of the rooms"
    package = ".".join(("patchmill", *path.parent.parts))
    assert wrong_imports((PACKAGE / path).read_text(), room, package) == []


@pytest.mark.parametrize(
    ("room", "package", "source"),
    [
        ("grid", "patchmill.grid", "from patchmill.planning import plan"),
        ("grid", "patchmill.grid", "import patchmill.planning.blocks as blocks"),
        ("grid", "patchmill.grid", "from patchmill import planning"),
        ("grid", "patchmill.grid", "from patchmill import patchify"),
        ("grid", "patchmill.grid", "import patchmill"),
        ("grid", "patchmill.grid", "from .. import cli"),
        ("show", "patchmill.show", "def f():\n    import patchmill"),
        ("stages", "patchmill.stages", "from patchmill.cli import main"),
        ("grid", "patchmill.grid", "from ..cutting.waves import wave"),
        ("grid", "patchmill.grid", "if TYPE_CHECKING:\n    from patchmill.reading import PatchSet"),
        ("cutting", "patchmill.cutting", "def f():\n    from patchmill.stages import run"),
        ("cutting", "patchmill.cutting", "import importlib\nimportlib.import_module('patchmill.cli')"),
        ("cutting", "patchmill.cutting", "from patchmill.show import table"),
        ("reading", "patchmill.reading", "class A:\n    from patchmill.show import table"),
    ],
)
def test_a_wrong_import_is_seen(room: str, package: str, source: str):
    assert len(wrong_imports(source, room, package)) == 1


@pytest.mark.parametrize(
    ("room", "package", "source"),
    [
        ("grid", "patchmill.grid", "from patchmill.errors import PatchmillError"),
        ("grid", "patchmill.grid", "from .axis import Axis"),
        ("grid", "patchmill.grid", "from ..types import as_shape"),
        ("reading", "patchmill.reading", "class A:\n    def __repr__(self):\n        from patchmill.show import table"),
        ("cli", "patchmill.cli", "from patchmill import __version__\nfrom patchmill.stages import run"),
        ("cli", "patchmill.cli", "import patchmill"),
        ("grid", "patchmill.grid", "from patchmill import __version__"),
        ("storage", "patchmill.storage", "import zarr\nfrom patchmillstone import quern"),
    ],
)
def test_a_right_import_is_let_through(room: str, package: str, source: str):
    assert wrong_imports(source, room, package) == []
