"""Imports what is to be checked: a file, a module or every module of a package."""

import contextlib
import difflib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from .inputs import sentence_of


class DiscoverError(ValueError):
    """A file or package as a whole cannot be checked. One sentence: the line, what is wrong, the fix."""


class Loaded(NamedTuple):
    """modules: {name: module, or the text of why it cannot be imported here}.

    examples: the module whose examples() counts, or None.  whole: whether all that it names must be among `modules`.
    """

    title: str
    modules: dict
    examples: ModuleType | None
    whole: bool


def load(name):
    """The Loaded of `name`: a path (`layers/my_layer.py`, a package's folder) or a module's dotted name."""
    path = Path(name)
    if path.suffix == ".py" or path.exists():
        return _load_path(name, path)
    with on_path(Path.cwd()), _explained(name):
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise DiscoverError(f"discover({name!r}): no such file or module.{_guess(path.with_suffix('.py'))}")
        return _load_module(name, importlib.import_module(name))


def _load_path(name, path):
    if not path.exists():
        raise DiscoverError(f"discover({name!r}): no such file.{_guess(path)}")
    path = path.resolve()
    if path.is_file() and path.suffix != ".py":
        raise DiscoverError(
            f"discover({name!r}): expected a Python file, a folder that is a package, or a module's name."
        )
    if path.is_dir() and not (path / "__init__.py").exists():
        raise DiscoverError(f"discover({name!r}): a folder without __init__.py is no package. Name one file in it.")
    parts = [] if path.name == "__init__.py" or path.is_dir() else [path.stem]
    root = path if path.is_dir() else path.parent
    if not (root / "__init__.py").exists():
        with on_path(root), _explained(name, path):
            module = _run(path)
        return Loaded(name, {path.stem: module}, module if hasattr(module, "examples") else None, True)
    while (root / "__init__.py").exists():
        root, parts = root.parent, [root.name, *parts]
    with on_path(root), _explained(name, path):
        return _load_module(".".join(parts), importlib.import_module(".".join(parts)))


def _run(path):
    """The module of a file that belongs to no package, read anew each time; `sys.modules` stays as it was."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses look for it there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[path.stem]
        if before is not None:
            sys.modules[path.stem] = before
    return module


def _load_module(name, module):
    """A module of a package, or a package with all its public modules, and the nearest examples() above it."""
    modules = {name: module}
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            try:
                modules[info.name] = importlib.import_module(info.name)
            except ModuleNotFoundError as error:
                if (error.name or name).split(".")[0] == name.split(".")[0]:
                    raise
                modules[info.name] = f"not imported: {error}"
    if callable(getattr(module, "examples", None)):
        return Loaded(name, modules, module, True)
    package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
    while package:
        if importlib.util.find_spec(package + ".examples"):
            examples = importlib.import_module(package + ".examples")
            modules.pop(examples.__name__, None)  # what it defines is there to help
            return Loaded(name, modules, examples, package == name)
        package = package.rpartition(".")[0]
    return Loaded(name, modules, None, True)


@contextlib.contextmanager
def on_path(folder):
    """Modules in this folder can be imported inside."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@contextlib.contextmanager
def _explained(name, path=None):
    """Any exception becomes a DiscoverError with the line of the file it comes from.

    Inside, a file that reads its command line finds its own name there, and nothing of ours.
    """
    before, sys.argv = sys.argv, [str(path or name)]
    try:
        yield
    except DiscoverError:
        raise
    except (Exception, SystemExit) as error:
        raise DiscoverError(
            f"discover({name!r}): does not import; {place_of(error, path)}. {_fix_of(error, path)}"
        ) from error
    finally:
        sys.argv = before


def _fix_of(error, path):
    if path and "no known parent package" in str(error):
        folder = path.parent
        return (
            f"The folder {folder.name} is a package only with a file __init__.py: make one (touch "
            f"{folder / '__init__.py'}) and name this file again, or all of it: python -m minigen.gradcheck {folder}"
        )
    lines = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SystemExit) or any("sys.argv" in line for line in lines):
        return 'What only a program is to do belongs under `if __name__ == "__main__":`.'
    return "Mend that line first."


def place_of(error, path=None):
    """`my_layer.py, line 3: NameError: ...`; the last line in `path` where given, else the last of all."""
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    own = [f for f in frames if path and Path(f[0]) == path] or [f for f in frames if "importlib" not in f[0]]
    what = sentence_of(error)
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}: {what}" if own else what


def _guess(path):
    folder = path.parent if path.parent.is_dir() else Path()
    close = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.py")], 1)
    return (
        f" Did you mean {str(folder / close[0])!r}?" if close else f" Python files in {folder.resolve()}: none is near."
    )
