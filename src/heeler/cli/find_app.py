"""Finds the app that a command is about: `module:app` from the command line, the environment or pyproject.toml."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import heeler
from heeler.app import Heeler
from heeler.config import Config, variable
from heeler.errors import ConfigurationError

__all__ = ["APP_VARIABLE", "app_reference", "find_app", "load_app"]

APP_VARIABLE = variable("app")
_HERE = str(Path(heeler.__file__).parent)  # a person wants the line in their own code
_MOST_NAMES = 12  # in one error message


def find_app(given: str | None) -> Heeler:
    """The app that `given`, HEELER_APP or pyproject.toml names, with all its tasks imported.

    Raises ConfigurationError that says what was looked for and what is there instead.
    """
    return load_app(app_reference(given))


def app_reference(given: str | None) -> str:
    """Which app is meant, and the working directory (or that of pyproject.toml) made importable."""
    _make_importable(Path.cwd())
    config = Config()
    chosen = config.chosen("app") if not given else None
    reference = given or (chosen.value if chosen is not None else None)
    if not reference:
        raise ConfigurationError(
            f'which app? Give --app module:app, set {APP_VARIABLE}, or write app = "module:app" under [tool.heeler] '
            f"in pyproject.toml"
        )
    if chosen is not None and config.sources.file is not None and chosen.origin == config.sources.place:
        _make_importable(config.sources.file.absolute().parent)
    return str(reference)


def load_app(reference: str) -> Heeler:
    """The Heeler called `module:app`; `module` alone will do where it has just one."""
    module_name, _, attribute = reference.partition(":")
    if module_name.endswith(".py") or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigurationError(f"app {reference!r} is not of the form module:app{_as_module_text(module_name)}")
    module = _import(module_name, f"app {reference!r}")
    app = _attribute(module, attribute) if attribute else _only_app(module)
    for name in app.imports:
        _import(name, f"the imports of app {reference!r}")
    return app


def _as_module_text(text: str) -> str:
    path = text.removesuffix(".py")
    module = path.strip("./").replace("/", ".")
    return f"; did you mean {module}:app?" if path != text or "/" in text else ""


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _import(name: str, wanted_by: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"{wanted_by}: there is no module {error.name!r}; {_neighbours(error.name)}"
            ) from error
        raise _import_failed(name, wanted_by, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(name, wanted_by, error) from error


def _import_failed(name: str, wanted_by: str, error: BaseException) -> ConfigurationError:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and not frame.filename.startswith(_HERE)]
    where = f" ({_shown_path(own[-1].filename)}, line {own[-1].lineno})" if own else ""
    if isinstance(error, ConfigurationError):
        return ConfigurationError(f"{wanted_by}: {error}{where}")
    cure = ""
    if isinstance(error, ImportError) and "partially initialized module" in str(error):
        cure = "; let the module with the app import no tasks, and name theirs in Heeler(imports=[…])"
    return ConfigurationError(f"{wanted_by}: importing {name} failed: {type(error).__name__}: {error}{where}{cure}")


def _shown_path(path: str) -> str:
    here = f"{Path.cwd()}{os.sep}"
    return path.removeprefix(here)


def _neighbours(missing: str) -> str:
    """What can be imported where the missing module was looked for."""
    parent, _, _ = missing.rpartition(".")
    if parent:
        paths: Iterable[str] = getattr(sys.modules.get(parent), "__path__", ())
        where = f"in {parent}"
    else:
        paths = [str(Path.cwd())]
        where = f"in {Path.cwd()}"
    names = sorted(module.name for module in pkgutil.iter_modules(list(paths)))
    return f"{where} there {_are(names)}"


def _are(names: list[str]) -> str:
    if not names:
        return "is none"
    shown = ", ".join(names[:_MOST_NAMES])
    return f"is {shown}" if len(names) == 1 else f"are {shown}{', …' if len(names) > _MOST_NAMES else ''}"


def _apps_of(module: ModuleType) -> dict[str, Heeler]:
    """The apps at a module's top level; an app with several names is there once, under the first."""
    apps: dict[str, Heeler] = {}
    for name, value in vars(module).items():
        if isinstance(value, Heeler) and not any(value is app for app in apps.values()):
            apps[name] = value
    return apps


def _only_app(module: ModuleType) -> Heeler:
    apps = _apps_of(module)
    if len(apps) == 1:
        return next(iter(apps.values()))
    if apps:
        choices = ", ".join(f"{module.__name__}:{name}" for name in apps)
        raise ConfigurationError(f"module {module.__name__!r} has {len(apps)} apps; say which: {choices}")
    raise ConfigurationError(
        f"module {module.__name__!r} has no app; write app = Heeler(…) at its top level; there {_are(_names(module))}"
    )


def _attribute(module: ModuleType, path: str) -> Heeler:
    value: object = module
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            raise ConfigurationError(f"module {module.__name__!r} has no {path!r}; {_what_is_there(module)}") from None
    if not isinstance(value, Heeler):
        raise ConfigurationError(
            f"{module.__name__}:{path} is a {type(value).__name__}, not a Heeler; {_what_is_there(module)}"
        )
    return value


def _what_is_there(module: ModuleType) -> str:
    apps = _apps_of(module)
    if apps:
        return f"its app{'s' if len(apps) > 1 else ''} {_are(sorted(apps))}"
    return f"it has no app; there {_are(_names(module))}"


def _names(module: ModuleType) -> list[str]:
    return sorted(name for name in vars(module) if not name.startswith("_"))
