"""Broker URLs: read strictly, with typed options, and never shown with a password."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from heeler.errors import ConfigurationError

__all__ = ["BrokerUrl", "redact", "suggestion"]

T = TypeVar("T")

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "": True}
_BOOLEANS |= {"0": False, "false": False, "no": False, "off": False}

# Up to the last @ before a blank or a quote: a password that somebody forgot to percent-encode is hidden as well.
_PASSWORD = re.compile(r"(?P<before>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/?#@\"'<>]*:)[^\s\"'<>]*@")
_TOKEN = re.compile(r"(?P<before>\b(?:nats|tls)://)[^\s:/?#@\"'<>]+@")
_SECRET_OPTION = re.compile(r"(?P<before>[?&](?:password|passwd|token|secret|api_key)=)[^\s&#\"'<>]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with the password of every URL in it replaced by asterisks."""
    for pattern in (_PASSWORD, _TOKEN):
        text = pattern.sub(r"\g<before>***@", text)
    return _SECRET_OPTION.sub(r"\g<before>***", text)


def suggestion(word: str, known: Collection[str]) -> str:
    """` (did you mean "…"?)` where one of the known words is close, else nothing."""
    close = difflib.get_close_matches(word, known, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


@dataclass(frozen=True, slots=True, repr=False)
class BrokerUrl:
    """A URL in its parts, percent-encoding undone. `hosts` are (name, port or None); `path` begins with a slash."""

    text: str
    scheme: str
    username: str | None
    password: str | None
    hosts: tuple[tuple[str, int | None], ...]
    path: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> BrokerUrl:
        """Raises ConfigurationError, without the password, for what is no URL."""
        if not isinstance(text, str) or not _SCHEME.match(text):
            shown = redact(text) if isinstance(text, str) else type(text).__name__
            raise ConfigurationError(
                f"{shown!r} is not a URL; one looks like sqlite:///jobs.db or redis://localhost:6379/0"
            )
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise ConfigurationError(f"{redact(text)!r} is not a URL: {error}") from None
        if parts.fragment or text.endswith("#"):
            raise ConfigurationError(f"{redact(text)!r}: write # as %23 in a URL")
        user_info, _, host_list = parts.netloc.rpartition("@")
        username, colon, password = user_info.partition(":")
        return cls(
            text=text,
            scheme=parts.scheme,
            username=unquote(username) or None,
            password=unquote(password) if colon else None,
            hosts=tuple(_host(host, text) for host in host_list.split(",") if host),
            path=unquote(parts.path),
            options=_options(parts.query, text),
        )

    @property
    def redacted(self) -> str:
        """The URL as it may be shown."""
        return redact(self.text)

    def __repr__(self) -> str:
        return f"<BrokerUrl {self.redacted}>"

    __str__ = __repr__

    @property
    def file(self) -> str:
        """The path of an embedded database: `sqlite:///relative.db`, `sqlite:////absolute/path.db`."""
        if self.hosts:
            raise ConfigurationError(
                f"{self.redacted!r}: a file has three slashes before a relative path "
                f"({self.scheme}:///{self._after_scheme}) and four before an absolute one"
            )
        if len(self.path) < 2:
            raise ConfigurationError(f"{self.redacted!r} names no file; write {self.scheme}:///jobs.db")
        return self.path[1:]

    @property
    def name(self) -> str:
        """What follows the two slashes, where that is a mere name: `memory://name`; empty if nothing does."""
        return self._after_scheme.strip("/")

    @property
    def _after_scheme(self) -> str:
        return ",".join(host for host, _ in self.hosts) + self.path

    def option(self, name: str, default: T) -> str | T:
        return self.options.get(name, default)

    def option_int(self, name: str, default: T, minimum: int | None = None) -> int | T:
        """An option that is a whole number, not below `minimum`."""
        given = self.options.get(name)
        if given is None:
            return default
        try:
            number = int(given)
        except ValueError:
            raise self._wrong(name, "a whole number") from None
        if minimum is not None and number < minimum:
            raise self._wrong(name, f"{minimum} or more")
        return number

    def option_float(self, name: str, default: T) -> float | T:
        """An option that is a finite number."""
        given = self.options.get(name)
        if given is None:
            return default
        try:
            number = float(given)
        except ValueError:
            raise self._wrong(name, "a number") from None
        if not abs(number) < float("inf"):
            raise self._wrong(name, "a finite number")
        return number

    def option_duration(self, name: str, default: T) -> float | T:
        """An option in seconds: `5`, `0.5`, or with a unit: `500ms`, `5s`, `2m`, `1h`, `7d`."""
        given = self.options.get(name)
        if given is None:
            return default
        found = _DURATION.fullmatch(given.strip())
        if not found:
            raise self._wrong(name, "a duration: seconds, or 500ms, 5s, 2m, 1h, 7d")
        return float(found[1]) * _SECONDS[found[2] or "s"]

    def option_bool(self, name: str, default: T) -> bool | T:
        """An option that is true or false (1 or 0, yes or no, on or off); alone, without a value, it is true."""
        given = self.options.get(name)
        if given is None:
            return default
        try:
            return _BOOLEANS[given.strip().lower()]
        except KeyError:
            raise self._wrong(name, "true or false") from None

    def option_choice(self, name: str, default: T, choices: Sequence[str]) -> str | T:
        """An option that is one of `choices`, in any case."""
        given = self.options.get(name)
        if given is None:
            return default
        for choice in choices:
            if given.strip().lower() == choice.lower():
                return choice
        raise self._wrong(name, f"one of {', '.join(choices)}")

    def finish(self, known: Collection[str]) -> None:
        """Raise ConfigurationError, which lists the known options, if the URL has an unknown one."""
        for name in self.options:
            if name not in known:
                listed = f"known are {', '.join(sorted(known))}" if known else f"{self.scheme}:// has no options"
                raise ConfigurationError(
                    f'{self.redacted!r}: unknown option "{name}"{suggestion(name, known)}; {listed}'
                )

    def _wrong(self, name: str, expected: str) -> ConfigurationError:
        return ConfigurationError(
            f'{self.redacted!r}: option "{name}" must be {expected}, got {redact(self.options[name])!r}'
        )


def _host(text: str, url: str) -> tuple[str, int | None]:
    if text.startswith("["):
        name, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigurationError(f"{redact(url)!r}: {redact(text)!r} is not an IPv6 address in brackets")
    else:
        name, _, port = text.partition(":")
    if not port:
        return unquote(name), None
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ConfigurationError(
            f"{redact(url)!r}: the port after the host is not a number from 1 to 65535; "
            "in a password, write @ : / ? # as %40 %3A %2F %3F %23"
        )
    return unquote(name), int(port)


def _options(query: str, url: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in options:
            raise ConfigurationError(f'{redact(url)!r}: option "{name}" is given twice')
        options[name] = value
    return options
