"""`heeler config`: the settings that are in effect, and where each came from."""

from __future__ import annotations

from collections.abc import Iterator

from heeler.cli.find_app import app_reference, load_app
from heeler.cli.options import AppOption, DebugOption, JsonOption
from heeler.cli.output import Column, note, print_json, print_table, value_text
from heeler.config import SETTINGS, Chosen, Config, Owner

__all__ = ["config", "setting_text"]


def config(app: AppOption = None, json: JsonOption = False, debug: DebugOption = False) -> None:
    """Show every setting with its value and where that came from; passwords are hidden.

    An argument in the code goes before the environment, that before the file, that before the default.
    """
    written = Config()
    chosen = list(_effective(written, app))
    if json:
        print_json(
            {"name": each.setting.name, "value": each.shown, "origin": each.origin, "of": each.setting.owner.value}
            for each in chosen
        )
        return
    print_table(
        [Column("SETTING", style="bold"), Column("VALUE", folds=True), Column("FROM", folds=True)],
        [[each.setting.name, setting_text(each), each.origin] for each in chosen],
    )
    if written.sources.unknown:
        note(f"without effect, since no setting is called so: {', '.join(written.sources.unknown)}")


def _effective(written: Config, app: str | None) -> Iterator[Chosen]:
    """The app's own settings as its code has them, where there is an app; the others as they are written."""
    reference = app or written.chosen("app").value
    if app:
        written.choose("app", app)
    of_app = written
    if reference:
        with load_app(app_reference(app)) as heeler:
            of_app = heeler.config
    for name, setting in SETTINGS.items():
        each = (of_app if setting.owner is Owner.APP else written).chosen(name)
        if each.origin == "argument":
            origin = "--app" if name == "app" else "the code of the app"
            each = Chosen(each.setting, each.value, origin)
        yield each


def setting_text(chosen: Chosen) -> str:
    """The value for people; a default in the words of the table."""
    if chosen.origin == "default" and chosen.setting.shown_default:
        return chosen.setting.shown_default
    shown = chosen.shown
    if isinstance(shown, list) and all(isinstance(item, str) for item in shown):
        return ", ".join(shown) or "none"
    return shown if isinstance(shown, str) else value_text(shown)
