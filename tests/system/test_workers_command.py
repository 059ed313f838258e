"""`heeler workers` beside worker processes."""

from command_shell import Shell, read_until, wait_for_file


def test_live_workers_are_listed_with_what_they_run(shell: Shell) -> None:
    worker = shell.worker("--name", "shop", "--concurrency", "3")
    id = shell.enqueue("hold", "--args", f'["{shell.folder}"]')
    wait_for_file(shell.folder / "begun", worker)
    (record,) = shell.heeler("workers", "--json").records
    assert (record["name"], record["pid"], record["concurrency"]) == ("shop", worker.pid, 3)
    assert (record["state"], record["running"], record["version"]) == ("running", 1, "0.1.0")
    assert set(record["queues"]) == {"default", "images"}
    assert record["memory"] > 1_000_000
    (job,) = record["jobs"]
    assert (job["id"], job["task"]) == (id, "shop.hold")
    listed = shell.heeler("workers")
    assert "shop " in listed.out
    assert id in listed.out
    (shell.folder / "enough").touch()


def test_without_a_worker_it_says_so(shell: Shell) -> None:
    done = shell.heeler("workers")
    assert (done.code, done.out) == (
        0,
        f"no worker is live on sqlite:///{shell.folder}/jobs.db: start one with heeler worker\n",
    )
    assert shell.heeler("workers", "--json").out == ""


def test_workers_are_stopped_by_name(shell: Shell) -> None:
    worker = shell.worker("--name", "shop")
    read_until(worker, "running")
    done = shell.heeler("workers", "stop", "shop")
    assert (done.code, done.out.split()[:2]) == (0, ["shop", "stops"])
    worker.communicate(timeout=30)
    assert worker.returncode == 0


def test_a_quiet_worker_takes_no_more_jobs(shell: Shell) -> None:
    worker = shell.worker("--name", "shop")
    read_until(worker, "running")
    assert shell.heeler("workers", "quiet", "--all").code == 0
    read_until(worker, "quiet")
    assert [record["state"] for record in shell.heeler("workers", "list", "--json").records] == ["quiet"]
    id = shell.enqueue("add", "--args", "[1, 2]")
    assert shell.heeler("result", id, "--json").records[0]["status"] == "READY"


def test_a_name_that_nobody_has_is_an_error_that_tells_who_is_there(shell: Shell) -> None:
    worker = shell.worker("--name", "shop")
    read_until(worker, "running")
    done = shell.heeler("workers", "stop", "shpo")
    assert (done.code, done.err) == (1, "heeler: no live worker is called shpo; live: shop\n")
    done = shell.heeler("workers", "stop")
    assert done.code == 2
    assert "which workers? Give their names, or --all" in done.err
