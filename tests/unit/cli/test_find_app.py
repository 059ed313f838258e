import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from heeler.cli.find_app import app_reference, find_app
from heeler.errors import ConfigurationError

APP = 'from heeler import Heeler\napp = Heeler("memory://")\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEELER_APP", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_an_app_is_module_and_name(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + "other = Heeler('memory://')")
    assert find_app("shop:other") is sys.modules["shop"].other


def test_a_module_with_one_app_needs_no_name(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + "same = app")
    assert find_app("shop") is sys.modules["shop"].app


def test_a_module_with_two_apps_names_both(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + "other = Heeler('memory://')")
    with pytest.raises(ConfigurationError, match="has 2 apps; say which: shop:app, shop:other"):
        find_app("shop")


def test_a_module_without_an_app_names_what_it_has(folder: Path) -> None:
    (folder / "shop.py").write_text("resize = 1")
    with pytest.raises(ConfigurationError, match=r"has no app; .* there is resize"):
        find_app("shop")


def test_a_wrong_name_names_the_right_one(folder: Path) -> None:
    (folder / "shop.py").write_text(APP)
    with pytest.raises(ConfigurationError, match="module 'shop' has no 'ap'; its app is app"):
        find_app("shop:ap")


def test_what_is_no_app_is_said_to_be_what_it_is(folder: Path) -> None:
    (folder / "shop.py").write_text(APP + "size = 3")
    with pytest.raises(ConfigurationError, match="shop:size is a int, not a Heeler; its app is app"):
        find_app("shop:size")


def test_a_missing_module_names_its_neighbours(folder: Path) -> None:
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "jobs.py").write_text(APP)
    with pytest.raises(ConfigurationError, match=r"no module 'shop\.job'; in shop there is jobs"):
        find_app("shop.job:app")
    with pytest.raises(ConfigurationError, match=r"no module 'shp'; in .* there is shop"):
        find_app("shp.jobs:app")


def test_an_error_inside_the_module_is_told_with_its_place(folder: Path) -> None:
    (folder / "shop.py").write_text("import heeler\n1 / 0\n")
    with pytest.raises(
        ConfigurationError, match=r"importing shop failed: ZeroDivisionError: .* \(shop\.py, line 2\)"
    ) as caught:
        find_app("shop:app")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_that_misses_another_is_not_called_missing_itself(folder: Path) -> None:
    (folder / "shop.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(ConfigurationError, match=r"importing shop failed: ModuleNotFoundError: .*nowhere_to_be_found"):
        find_app("shop:app")


def test_a_module_that_ends_the_program_does_not_end_the_command(folder: Path) -> None:
    (folder / "shop.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(ConfigurationError, match="importing shop failed: SystemExit"):
        find_app("shop:app")


@pytest.mark.parametrize("given", ["./shop.py:app", "shop.py"])
def test_a_path_is_answered_with_the_module(given: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean shop:app"):
        find_app(given)


def test_the_modules_that_the_app_imports_are_imported(folder: Path) -> None:
    (folder / "shop.py").write_text('from heeler import Heeler\napp = Heeler("memory://", imports=["shop_tasks"])\n')
    (folder / "shop_tasks.py").write_text(
        "from shop import app\n\n@app.task\ndef resize(path: str) -> str: return path\n"
    )
    assert list(find_app("shop:app").tasks) == ["shop_tasks.resize"]


def test_a_missing_import_of_the_app_is_named(folder: Path) -> None:
    (folder / "shop.py").write_text('from heeler import Heeler\napp = Heeler("memory://", imports=["shop_task"])\n')
    with pytest.raises(ConfigurationError, match="the imports of app 'shop:app': there is no module 'shop_task'"):
        find_app("shop:app")


def test_the_command_line_goes_before_the_environment_and_that_before_pyproject(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[tool.heeler]\napp = "third:app"\n')
    assert app_reference(None) == "third:app"
    monkeypatch.setenv("HEELER_APP", "second:app")
    assert app_reference(None) == "second:app"
    assert app_reference("first:app") == "first:app"


def test_a_pyproject_in_a_parent_counts_and_makes_its_folder_importable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[tool.heeler]\napp = "shop:app"\n')
    (folder / "shop.py").write_text(APP)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "pyproject.toml").write_text("[tool.other]\n")
    monkeypatch.chdir(folder / "deep" / "er")
    assert find_app(None) is sys.modules["shop"].app


@pytest.mark.parametrize(
    ("text", "said"), [("[tool.heeler\n", "cannot be read"), ("[tool.heeler]\napp = 3\n", "must be a text")]
)
def test_a_broken_pyproject_is_named(folder: Path, text: str, said: str) -> None:
    (folder / "pyproject.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=f"pyproject.toml.* {said}"):
        app_reference(None)


def test_no_app_at_all_lists_the_three_ways() -> None:
    with pytest.raises(ConfigurationError, match=r"--app module:app, set HEELER_APP, or .*\[tool\.heeler\]"):
        app_reference(None)
