from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.errors import ConfigurationError
from heeler.url import BrokerUrl, redact, suggestion


@pytest.mark.parametrize(
    ("text", "scheme", "hosts", "path"),
    [
        ("memory://", "memory", (), ""),
        ("memory://tests", "memory", (("tests", None),), ""),
        ("sqlite:///jobs.db", "sqlite", (), "/jobs.db"),
        ("sqlite:////var/lib/jobs.db", "sqlite", (), "//var/lib/jobs.db"),
        ("sqlite:///my%20jobs.db", "sqlite", (), "/my jobs.db"),
        ("redis://localhost:6379/0", "redis", (("localhost", 6379),), "/0"),
        ("redis://localhost", "redis", (("localhost", None),), ""),
        ("REDIS://Localhost/", "redis", (("Localhost", None),), "/"),
        ("redis+sentinel://a:1,b:2,c/main/0", "redis+sentinel", (("a", 1), ("b", 2), ("c", None)), "/main/0"),
        ("redis+socket:///run/redis.sock", "redis+socket", (), "/run/redis.sock"),
        ("postgresql://[::1]:5432/jobs", "postgresql", (("::1", 5432),), "/jobs"),
        ("postgresql://[fe80::2]/jobs", "postgresql", (("fe80::2", None),), "/jobs"),
        ("amqp://broker/%2F", "amqp", (("broker", None),), "//"),
    ],
)
def test_a_url_is_taken_apart(text: str, scheme: str, hosts: object, path: str) -> None:
    url = BrokerUrl.parse(text)
    assert (url.scheme, url.hosts, url.path) == (scheme, hosts, path)
    assert (url.username, url.password, dict(url.options)) == (None, None, {})


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("redis://anna:secret@h", "anna", "secret"),
        ("redis://:secret@h", None, "secret"),
        ("amqp://anna@h", "anna", None),
        ("redis://an%40na:p%3A%2F%40%23s@h:1", "an@na", "p:/@#s"),
        ("redis://a:b:c@h", "a", "b:c"),
        ("redis://a:@h", "a", ""),
    ],
)
def test_user_and_password_are_decoded(text: str, username: str | None, password: str | None) -> None:
    url = BrokerUrl.parse(text)
    assert (url.username, url.password) == (username, password)
    assert url.hosts[0][0] == "h"


@given(password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1), user=st.text(min_size=1, alphabet="abc"))
def test_any_password_is_read_back_and_never_shown(password: str, user: str) -> None:
    quoted = quote(password, safe="")
    url = BrokerUrl.parse(f"redis://{user}:{quoted}@host:1/0")
    assert url.password == password
    assert url.redacted == f"redis://{user}:***@host:1/0"
    assert repr(url) == str(url) == f"<BrokerUrl redis://{user}:***@host:1/0>"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jobs.db",
        "sqlite",
        "//host",
        "/path",
        "redis:/host",
        "://x",
        "redis://[::1",
        "redis://[::1]x:3",
        "redis://h/#x",
    ],
)
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        BrokerUrl.parse(text)


def test_what_is_not_even_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'int' is not a URL"):
        BrokerUrl.parse(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "1.5", "٣"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(ConfigurationError, match="port after the host"):
        BrokerUrl.parse(f"redis://h:{port}/0")


@pytest.mark.parametrize("password", ["s3cr/et", "s3cr?et", "s3cr@et", "s3cr#et", "s3cr:et", "s3cr/e:t@x"])
def test_a_password_that_was_not_encoded_is_not_in_the_error_either(password: str) -> None:
    text = f"redis://anna:{password}@host:6379/0"
    try:
        shown = repr(BrokerUrl.parse(text))
    except ConfigurationError as error:
        shown = str(error)
    assert "s3cr" not in shown


def test_passwords_are_redacted_in_any_text() -> None:
    said = redact(
        'cannot reach redis://anna:geheim@a:1/0 or "amqps://:pass@b,c/v", but memory:// and http://x:8/y are fine'
    )
    assert (
        said == 'cannot reach redis://anna:***@a:1/0 or "amqps://:***@b,c/v", but memory:// and http://x:8/y are fine'
    )
    assert redact("nats://token@host:4222") == "nats://***@host:4222"
    assert redact("redis://h/0?password=abc&timeout=3&TOKEN=xyz") == "redis://h/0?password=***&timeout=3&TOKEN=***"


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:////absolute/path.db", "/absolute/path.db"),
        ("sqlite:///a/b.db?synchronous=normal", "a/b.db"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_the_file_of_an_embedded_database(text: str, file: str) -> None:
    assert BrokerUrl.parse(text).file == file


def test_two_slashes_before_a_file_are_explained() -> None:
    with pytest.raises(ConfigurationError, match=r"three slashes before a relative path \(sqlite:///jobs.db\)"):
        BrokerUrl.parse("sqlite://jobs.db").file
    with pytest.raises(ConfigurationError, match="names no file"):
        BrokerUrl.parse("sqlite://").file


@pytest.mark.parametrize(
    ("text", "name"), [("memory://", ""), ("memory:///", ""), ("memory://a", "a"), ("memory:///b", "b")]
)
def test_the_name_of_a_memory_broker(text: str, name: str) -> None:
    assert BrokerUrl.parse(text).name == name


def with_options(query: str) -> BrokerUrl:
    return BrokerUrl.parse(f"redis://anna:secret@host/0?{query}")


def test_options_are_read_by_their_type() -> None:
    url = with_options("a=5&b=1.5&c=yes&d=Normal&e=250ms&f=x%20y&g&h=off")
    assert url.option_int("a", 0) == 5
    assert url.option_float("b", 0.0) == 1.5
    assert url.option_float("a", 0.0) == 5.0
    assert url.option_bool("c", False) is True
    assert url.option_bool("g", False) is True
    assert url.option_bool("h", True) is False
    assert url.option_choice("d", "full", ["full", "normal"]) == "normal"
    assert url.option_duration("e", 1.0) == 0.25
    assert url.option("f", "") == "x y"


def test_an_option_that_is_not_given_is_its_default() -> None:
    url = with_options("")
    assert url.option_int("a", 7) == 7
    assert url.option_float("a", None) is None
    assert url.option_bool("a", True) is True
    assert url.option_choice("a", "full", ["full"]) == "full"
    assert url.option_duration("a", 3.0) == 3.0
    assert url.option("a", None) is None


@pytest.mark.parametrize(
    ("given_text", "seconds"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        ("5s", 5.0),
        ("500ms", 0.5),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("0", 0.0),
    ],
)
def test_durations_are_seconds_or_have_a_unit(given_text: str, seconds: float) -> None:
    assert with_options(f"t={given_text}").option_duration("t", 0.0) == seconds


@pytest.mark.parametrize(
    ("read", "value", "words"),
    [
        (lambda url: url.option_int("o", 0), "x", "must be a whole number, got 'x'"),
        (lambda url: url.option_int("o", 0), "1.5", "must be a whole number"),
        (lambda url: url.option_int("o", 0, minimum=1), "0", "must be 1 or more"),
        (lambda url: url.option_float("o", 0), "x", "must be a number"),
        (lambda url: url.option_float("o", 0), "nan", "must be a finite number"),
        (lambda url: url.option_float("o", 0), "inf", "must be a finite number"),
        (lambda url: url.option_bool("o", False), "maybe", "must be true or false"),
        (lambda url: url.option_choice("o", "a", ["a", "b"]), "c", "must be one of a, b"),
        (lambda url: url.option_duration("o", 0), "-5", "must be a duration"),
        (lambda url: url.option_duration("o", 0), "5 weeks", "must be a duration"),
        (lambda url: url.option_duration("o", 0), "", "must be a duration"),
    ],
)
def test_a_wrong_option_is_an_error_that_names_it_and_hides_the_password(read: object, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(with_options(f"o={value}"))  # type: ignore[operator]
    said = str(caught.value)
    assert 'option "o"' in said
    assert words in said
    assert "secret" not in said


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='"a" is given twice'):
        with_options("a=1&a=2")


def test_an_unknown_option_lists_the_known_ones_and_guesses() -> None:
    url = with_options("conect_timeout=5")
    with pytest.raises(ConfigurationError) as caught:
        url.finish(["connect_timeout", "reconnect_delay"])
    said = str(caught.value)
    assert 'unknown option "conect_timeout" (did you mean "connect_timeout"?)' in said
    assert "known are connect_timeout, reconnect_delay" in said
    assert "secret" not in said
    with pytest.raises(ConfigurationError, match="redis:// has no options"):
        url.finish(())


def test_known_options_are_fine() -> None:
    with_options("a=1&b=2").finish({"a", "b", "c"})


def test_a_suggestion_is_made_only_for_something_close() -> None:
    assert suggestion("redsi", ["redis", "memory"]) == ' (did you mean "redis"?)'
    assert suggestion("kafka", ["redis", "memory"]) == ""
