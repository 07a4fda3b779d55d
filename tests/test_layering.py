"""Imports point downward only, in the order of the house; and only `backend` names CuPy. Read with `ast`, not run."""

import ast
from pathlib import Path

import pytest

import minigen

HOUSE = Path(minigen.__file__).parent
FLOORS = [
    {"backend"},
    {"autograd"},
    {"ops"},
    {"debug", "gradcheck"},  # neither needs the other
    {"nn"},
    {"optim"},
    {"data"},
    {"models"},
    {"metrics"},
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
ONLY = {"data": {"backend"}}  # data are arrays: they know of no Tensor, no layer, no optimiser
TOP = len(FLOORS)  # the commands and what they share, in the topmost floor: train, sample, evaluate, ...


def imports(source, package):
    """[(line, absolute name)] of everything a module of `package` imports, wherever in the file it does so."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            path = [*base, *(node.module.split(".") if node.module else [])]
            # `from . import x` names a module, `from .x import y` a module and what is in it
            found += [(node.lineno, ".".join([*path, alias.name])) for alias in node.names]
    return found


def part_of(name):
    """minigen.nn.layers -> nn; None for what is not minigen's, and for the package itself."""
    first, *rest = name.split(".")
    return rest[0] if first == "minigen" and rest else None


def upward(part, name):
    """Whether an import of `name` from `part` points up or sideways in the house, or to what ONLY does not allow."""
    target = part_of(name)
    if target is None:
        return name.split(".")[0] == "minigen"  # `import minigen`: all floors at once
    if target == part:
        return False
    if part in ONLY:
        return target not in ONLY[part]
    return LEVEL.get(target, TOP) >= LEVEL.get(part, TOP) != TOP


def modules():
    for path in sorted(HOUSE.rglob("*.py")):
        relative = path.relative_to(HOUSE)
        if relative != Path("__init__.py"):  # the public face imports from every floor
            yield relative.parts[0].removesuffix(".py"), relative, path.read_text()


def package_of(relative):
    return ["minigen", *relative.parts[:-1]]


def test_imports_point_downward_only():
    wrong = [
        f"minigen/{relative}:{line}: {part} imports {name}"
        for part, relative, source in modules()
        for line, name in imports(source, package_of(relative))
        if upward(part, name)
    ]
    assert wrong == []


def test_only_the_backend_imports_cupy():
    wrong = [
        f"minigen/{relative}:{line}: {part} imports {name}"
        for part, relative, source in modules()
        for line, name in imports(source, package_of(relative))
        if name.split(".")[0] in ("cupy", "cupyx") and part != "backend"
    ]
    assert wrong == []


def test_only_the_backend_names_cupy_in_its_code():
    """`cupy` as a name, an attribute or a string compared with: the user's choice "cupy" is only passed on."""
    wrong = [
        f"minigen/{relative}:{node.lineno}: {part} names cupy"
        for part, relative, source in modules()
        for node in ast.walk(ast.parse(source))
        if part != "backend" and getattr(node, "id", getattr(node, "attr", None)) in ("cupy", "cupyx")
    ]
    assert wrong == []


def test_every_part_has_its_floor_or_is_in_the_topmost():
    parts = {part for part, _, _ in modules()}
    assert LEVEL.keys() - parts == set()


@pytest.mark.parametrize(
    ("part", "source", "wrong"),
    [
        ("ops", "from ..autograd import op", []),
        ("ops", "from .common import raw", []),
        ("autograd", "from .. import ops", ["minigen.ops"]),
        ("autograd", "def f():\n    from ..nn.module import Module", ["minigen.nn.module.Module"]),
        ("nn", "import numpy, minigen.optim", ["minigen.optim"]),
        ("data", "from ..nn import Module", ["minigen.nn.Module"]),
        ("data", "from ..models import GAN", ["minigen.models.GAN"]),
        ("debug", "from .gradcheck import gradcheck", ["minigen.gradcheck.gradcheck"]),
        ("metrics", "from ..loop import fit", ["minigen.loop.fit"]),
        ("backend", "import minigen", ["minigen"]),
        ("models", "from ..nn import Module", []),
        ("train", "from .loop import fit", []),
    ],
    ids=range(12),
)
def test_a_violation_is_seen(part, source, wrong):
    package = ["minigen", part] if part not in ("debug", "train") else ["minigen"]
    seen = [name for _, name in imports(source, package) if upward(part, name)]
    assert seen == wrong
