"""The memory broker with a cable that a test can pull: each verb then says BrokerUnavailable."""

from heeler.brokers.memory import MemoryBroker
from heeler.clock import SystemClock
from heeler.errors import BrokerUnavailable
from heeler.io_thread import IoThread


class BrokenBroker(MemoryBroker):
    """`down` names the verbs that fail now; `lose_replies` those that are carried out, but whose answer is lost."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(io=IoThread(), clock=SystemClock(), namespace="heeler", name=name)
        self.down: set[str] = set()
        self.lose_replies: set[str] = set()
        self.calls: list[str] = []
        self.gives_up_after: int | None = None  # failed calls

    def check(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.down:
            if self.gives_up_after is not None:
                self.gives_up_after -= 1
                if self.gives_up_after <= 0:
                    raise BrokerUnavailable("the cable is out for good", given_up=True)
            raise BrokerUnavailable("the cable is out")

    def reply(self, verb: str) -> None:
        if verb in self.lose_replies:
            self.lose_replies.discard(verb)
            raise BrokerUnavailable("no answer", outcome_unknown=True)

    async def open(self) -> None:
        self.check("open")
        await super().open()

    def publish_blocking(self, publication):
        self.check("publish")
        return super().publish_blocking(publication)

    async def subscribe(self, queues, lease, worker_id=""):
        self.check("subscribe")
        subscription = await super().subscribe(queues, lease, worker_id)
        fetch = subscription.fetch

        async def checked_fetch(*args, **kwargs):
            self.check("fetch")
            return await fetch(*args, **kwargs)

        ready = subscription.ready

        async def checked_ready():
            self.check("ready")
            await ready()

        subscription.fetch = checked_fetch
        subscription.ready = checked_ready
        return subscription

    async def extend(self, renewals, lease):
        self.check("extend")
        return await super().extend(renewals, lease)

    async def settle(self, settlements, call=None):
        self.check("settle")
        answers = await super().settle(settlements, call)
        self.reply("settle")
        return answers
