"""From the log to the watchers of sessions: one reader of the log per process, for all of its watchers."""

from agents.journal.log import LoggedEvent
from agents.relay.event_json import event_json
from agents.relay.hub import Hub, Resync, Subscription, close_hub, close_subscriptions, get_hub, hub_figures

__all__ = [
    "Hub",
    "LoggedEvent",
    "Resync",
    "Subscription",
    "close_hub",
    "close_subscriptions",
    "event_json",
    "get_hub",
    "hub_figures",
]
