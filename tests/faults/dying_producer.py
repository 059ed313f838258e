"""A producer process that is killed while it enqueues its only job, at the step that the environment names."""

from __future__ import annotations

from fault_jobs import app, work

with app:
    work.enqueue()
    app.connections.io.run(app.connections.broker.plain.dead_letters.find([]))  # time for what nobody waits for
