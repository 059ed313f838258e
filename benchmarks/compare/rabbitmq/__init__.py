"""Heeler beside other task queues, on one RabbitMQ: `python -m benchmarks.compare.rabbitmq [--systems …] [--quick]`.

Quorum queues and classic ones, where the other has both; without results, and with results in one Redis. All are set
up so that a job whose worker is killed comes back, and so that its sender knows that the server has it. As in the
comparison on Redis each system has a file in `systems/` and an environment of its own under `build/compare/`.
"""
