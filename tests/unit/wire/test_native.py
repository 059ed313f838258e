from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heeler.model import NATIVE_FORMAT, Envelope, Message, Retry
from heeler.wire import NativeFormat

WIRE = NativeFormat()


def message(**fields: Any) -> Message:
    given_fields = {
        "id": "0190",
        "task": "pkg.resize",
        "queue_name": "images",
        "payload": b"\x80",
        "content_type": "application/msgpack",
    } | fields
    return Message(**given_fields)


def test_a_usual_message_has_no_options_and_its_payload_is_the_body() -> None:
    envelope = WIRE.seal(message(payload=b"abc"), keeps_result=True)
    assert envelope.options == b""
    assert envelope.body == b"abc"
    assert envelope.format == NATIVE_FORMAT
    assert envelope.fingerprint == b""


def test_what_brokers_act_on_stands_in_the_envelope() -> None:
    envelope = WIRE.seal(
        message(
            headers={"trace": "1"},
            priority=5,
            enqueued_at=100.0,
            delay=2.5,
            run_at=200.0,
            expires_in=60.0,
            expires_at=300.0,
            result_ttl=7.0,
            routing_key="img.cat",
        ),
        keeps_result=False,
        reply_to="inbox-1",
    )
    assert (envelope.id, envelope.task, envelope.queue) == ("0190", "pkg.resize", "images")
    assert (envelope.headers, envelope.priority, envelope.enqueued_at) == ({"trace": "1"}, 5, 100.0)
    assert (envelope.delay, envelope.run_at, envelope.expires_in, envelope.expires_at) == (2.5, 200.0, 60.0, 300.0)
    assert (envelope.keep, envelope.keeps_result, envelope.routing_key) == (7.0, False, "img.cat")
    assert envelope.reply_to == "inbox-1"


seconds = st.floats(0, 1e9)
maybe_seconds = st.none() | seconds
retries = st.builds(
    Retry,
    max_attempts=st.none() | st.integers(1, 100),
    delay=seconds,
    backoff=st.sampled_from(["exponential", "fibonacci", "linear", "constant"]),
    max_delay=seconds,
    jitter=st.booleans(),
    on=st.lists(st.sampled_from([ValueError, "pkg.Error"])),
    not_on=st.lists(st.sampled_from([KeyError, "pkg.Other"])),
)
messages = st.builds(
    message,
    payload=st.binary(),
    headers=st.dictionaries(st.text(), st.text()),
    priority=st.integers(-100, 100),
    enqueued_at=seconds,
    delay=seconds,
    run_at=maybe_seconds,
    expires_in=maybe_seconds,
    expires_at=maybe_seconds,
    timeout=maybe_seconds,
    soft_timeout=maybe_seconds,
    retry=st.none() | retries,
    reports=st.sampled_from([None, "final", "all"]),
    ignore_result=st.booleans(),
    result_ttl=seconds,
    max_crashes=st.none() | st.integers(0, 10),
    bound=st.booleans(),
    positional=st.none() | st.integers(0, 10),
    fingerprint=st.binary(),
    routing_key=st.none() | st.text(),
)


@given(messages)
def test_opening_gives_back_what_was_sealed(sent: Message) -> None:
    assert WIRE.open(WIRE.seal(sent, keeps_result=not sent.ignore_result)) == sent


@pytest.mark.parametrize(
    "override",
    [
        {"timeout": 5.0},
        {"soft_timeout": 5.0},
        {"retry": Retry()},
        {"reports": "final"},
        {"max_crashes": 0},
        {"bound": False},
        {"positional": 0},
    ],
)
def test_each_override_is_written(override: dict[str, Any]) -> None:
    envelope = WIRE.seal(message(**override), keeps_result=True)
    assert envelope.options[0] == 1
    assert WIRE.open(envelope) == message(**override)


def envelope_with(options: bytes, **fields: Any) -> Envelope:
    return msgspec.structs.replace(WIRE.seal(message(), keeps_result=True), options=options, **fields)


def test_a_newer_version_is_refused_by_number() -> None:
    with pytest.raises(ValueError, match="options are of version 2, and this Heeler reads version 1"):
        WIRE.open(envelope_with(b"\x02\x96"))


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {},
        None,
        ["x", None, None, None, None, True],
        [None, None, [0, 1.0, "exponential", 1.0, True, [], []], None, None, True],
        [None, None, [1, -1.0, "exponential", 1.0, True, [], []], None, None, True],
        [None, None, [1, 1.0, "sideways", 1.0, True, [], []], None, None, True],
        [None, None, None, "sometimes", None, True],
    ],
)
def test_options_that_make_no_sense_are_refused_with_a_reason(plain: Any) -> None:
    with pytest.raises(ValueError, match="the envelope's options cannot be read: "):
        WIRE.open(envelope_with(b"\x01" + msgspec.msgpack.encode(plain)))


@given(st.binary(min_size=1))
def test_random_options_raise_value_error_or_are_read(options: bytes) -> None:
    for start in (b"", b"\x01", b"\x01\x96"):
        try:
            WIRE.open(envelope_with(start + options))
        except ValueError:
            continue


def test_the_envelope_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match='"celery/2" is not "heeler/1"'):
        WIRE.open(envelope_with(b"", format="celery/2"))
