"""From the journal's outbox to the brokers: one task a broker, each signal to exactly one fate."""

from anystrat.runner.delivery.broker import BrokerDelivery
from anystrat.runner.delivery.paper import PaperDelivery

__all__ = ["BrokerDelivery", "PaperDelivery"]
