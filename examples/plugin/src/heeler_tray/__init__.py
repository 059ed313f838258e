"""An example of plug-ins for Heeler: each module is one of them, and can be read alone."""

from heeler_tray.broker import TrayBroker
from heeler_tray.codec import ZippedJson
from heeler_tray.executor import FreshThreads
from heeler_tray.ids import dated_id
from heeler_tray.store import TrayStore

__all__ = ["FreshThreads", "TrayBroker", "TrayStore", "ZippedJson", "dated_id"]
