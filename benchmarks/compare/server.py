"""The Redis server that all systems share: one that is named, or a private one as fresh from the package."""

import contextlib
from collections.abc import Iterator

from redis import Redis

from benchmarks.redis_server import private_redis


class Server:
    """Two databases of a server, both the benchmark's own."""

    def __init__(self, url: str, databases: tuple[int, int]) -> None:
        self.broker = f"{url}/{databases[0]}"
        self.results = f"{url}/{databases[1]}"
        self._clients = [Redis.from_url(self.broker), Redis.from_url(self.results)]

    def refuse_if_in_use(self) -> None:
        for client, shown in zip(self._clients, (self.broker, self.results), strict=True):
            if count := client.dbsize():
                raise SystemExit(
                    f"{shown} has {count} keys, and this benchmark empties it; choose others by --databases"
                )

    def empty(self) -> None:
        for client in self._clients:
            client.flushdb()

    def describe(self) -> str:
        client = self._clients[0]
        version = client.info("server")["redis_version"]
        settings = {name: client.config_get(name)[name] or "none" for name in ("appendonly", "appendfsync", "save")}
        return f"Redis {version} ({', '.join(f'{name} {value}' for name, value in settings.items())})"

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextlib.contextmanager
def redis_server(url: str | None, databases: tuple[int, int]) -> Iterator[Server]:
    """The server of that URL; without one a private server, which ends with the benchmark."""
    with contextlib.ExitStack() as stack:
        server = Server(url or stack.enter_context(private_redis()), databases)
        stack.callback(server.close)
        server.refuse_if_in_use()
        try:
            yield server
        finally:
            server.empty()
