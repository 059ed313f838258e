from heeler.brokers.memory.records import Answers, EndedJobs
from heeler.brokers.memory.register import Register
from heeler.model import CallId, Envelope, ResultRecord


def envelope(id: str, **fields: object) -> Envelope:
    return Envelope(id=id, task="t", queue="q", body=b"", content_type="m", **fields)


def keep(ended: EndedJobs, job: Envelope, now: float) -> None:
    ended.keep(1, job, ResultRecord(envelope=job), now)


def test_an_ended_job_is_gone_at_its_moment_and_its_memory_a_little_later() -> None:
    ended = EndedJobs(Register())
    for number in range(100):
        keep(ended, envelope(f"{number}", keep=10.0), now=0.0)
    assert ended.get("7", now=9.9) is not None
    assert ended.get("7", now=10.0) is None
    ended.prune(11.0, most=30)
    assert len(ended) == 70
    for _ in range(3):
        ended.prune(11.0, most=30)
    assert len(ended) == 0


def test_an_id_that_ended_again_is_kept_from_its_last_end_on() -> None:
    ended = EndedJobs(Register())
    job = envelope("a", keep=10.0)
    keep(ended, job, now=0.0)
    keep(ended, job, now=20.0)
    ended.prune(25.0, most=10)
    assert ended.get("a", 25.0) is not None


def test_nothing_is_kept_of_a_job_that_asks_for_nothing() -> None:
    ended = EndedJobs(Register())
    keep(ended, envelope("no result", keeps_result=False), now=0.0)
    keep(ended, envelope("no time", keep=0.0), now=0.0)
    ended.keep(1, envelope("no record"), None, now=0.0)
    assert len(ended) == 0


def test_forgetting_a_given_id_drops_its_record_but_not_the_reservation() -> None:
    ended = EndedJobs(Register())
    keep(ended, envelope("given", fingerprint=b"f"), now=0.0)
    keep(ended, envelope("made"), now=0.0)
    assert ended.forget("given", 1.0)
    assert ended.forget("made", 1.0)
    assert not ended.forget("given", 1.0)
    reserved = ended.get("given", 1.0)
    assert reserved is not None
    assert reserved.record is None
    assert ended.get("made", 1.0) is None


def test_what_is_forgotten_is_struck_from_the_register() -> None:
    register = Register()
    ended = EndedJobs(register)

    def listed() -> list[str]:
        return [id for _, id in register.newest()]

    def end(number: int, id: str, now: float, **fields: object) -> None:
        register.enter(number, id)
        job = envelope(id, keep=10.0, **fields)
        ended.keep(number, job, ResultRecord(envelope=job), now)

    end(1, "pruned", now=0.0)
    end(2, "forgotten", now=0.0)
    end(3, "given", now=0.0, fingerprint=b"f")
    end(4, "alive again", now=0.0)
    end(5, "no result", now=0.0, keeps_result=False)
    assert listed() == ["alive again", "given", "forgotten", "pruned"]
    ended.forget("forgotten", 1.0)
    ended.forget("given", 1.0)
    ended.remove("alive again")
    assert listed() == ["pruned"]
    end(6, "pruned", now=20.0)
    assert list(register.newest()) == [(6, "pruned")]
    ended.prune(40.0, most=100)
    assert listed() == []


def test_a_session_remembers_its_last_answers_for_two_minutes() -> None:
    answers = Answers()
    for number in range(100):
        answers.keep(CallId("s", number), [number], now=0.0)
    assert answers.find(CallId("s", 99), now=119.0) == [99]
    assert answers.find(CallId("s", 0), now=0.0) is None
    assert answers.find(CallId("other", 99), now=0.0) is None
    assert answers.find(CallId("s", 99), now=121.0) is None
    assert answers.find(None, now=0.0) is None


def test_silent_sessions_leave_no_memory_behind() -> None:
    answers = Answers()
    for number in range(1000):
        answers.keep(CallId(f"{number}", 1), [], now=float(number))
    assert len(answers._sessions) < 130
