"""What the children of the tests' process pools do."""

import os
import signal
import socket
import subprocess
import sys

from heeler.contracts import CallChannel
from heeler.executors import in_pool_process

calls_here = 0


def act(order: bytes, channel: CallChannel) -> bytes:
    global calls_here
    calls_here += 1
    word, _, rest = order.decode().partition(" ")
    return {
        "pid": lambda: str(os.getpid()),
        "parent": lambda: str(os.getppid()),
        "calls": lambda: str(calls_here),
        "group": lambda: str(os.getpgrp()),
        "exit": lambda: os._exit(int(rest)),
        "signal": lambda: str(os.kill(os.getpid(), int(rest))),
        "path": lambda: repr((sys.path, sys.argv, os.environ.get("PYTHONPATH"), os.getcwd())),
        "env": lambda: os.environ[rest],
        "descriptors": lambda: str(len(os.listdir("/proc/self/fd"))),
        "last_words": lambda: str(channel.at_end(lambda: open(rest, "w").close())),
        "print": lambda: str(print(rest)),
        "fail": lambda: {}[rest],
        "meet": lambda: meet(rest),
        "meet_and_compute": lambda: meet(rest, compute=True),
        "meet_and_start": lambda: start(rest),
        "in_pool": lambda: str(in_pool_process()),
        "terminated": lambda: start_and_terminate(),
    }[word]().encode()


def meet(gate: str, compute: bool = False) -> str:
    """Tell the gate who is here and wait; with `compute` in C code that never looks at a signal."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(gate)
        connection.sendall(f"{os.getpid()}\n".encode())
        if compute:
            7 ** (10**9)
        connection.recv(1)
    return "met"


def start(gate: str) -> str:
    subprocess.run([sys.executable, "-c", f"import pool_actions; pool_actions.meet({gate!r})"], env=_with_path())
    return "over"


def start_and_terminate() -> str:
    process = subprocess.Popen(["sleep", "60"])
    process.send_signal(signal.SIGTERM)
    return str(process.wait())


def _with_path() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
