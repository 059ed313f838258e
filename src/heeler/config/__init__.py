"""What an app and its workers are configured with, and where each value came from.

An argument goes before the environment (`HEELER_NAME`), that before the file, that before the default.
"""

from heeler.config.config import UNSET, Chosen, Config, Unset
from heeler.config.sources import CONFIG_VARIABLE, Sources, read_sources
from heeler.config.table import DEFAULT_URL, PREFIX, SETTINGS, Owner, Setting, variable

__all__ = [
    "CONFIG_VARIABLE",
    "DEFAULT_URL",
    "PREFIX",
    "SETTINGS",
    "UNSET",
    "URL_VARIABLE",
    "Chosen",
    "Config",
    "Owner",
    "Setting",
    "Sources",
    "Unset",
    "read_sources",
    "variable",
]

URL_VARIABLE = variable("url")
