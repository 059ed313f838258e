"""Where plain functions run: daemon threads of this process, or a pool of killable children."""

from heeler.executors.processes import ProcessExecutor
from heeler.executors.template_link import in_pool_process
from heeler.executors.threads import ThreadExecutor

__all__ = ["ProcessExecutor", "ThreadExecutor", "in_pool_process"]
