"""Who tells people of what happens, as the configuration says."""

from __future__ import annotations

from random import SystemRandom
from typing import TYPE_CHECKING

from anystrat.domain.errors import AnystratError
from anystrat.domain.webhook import WebhookBroker
from anystrat.observability.notifier import Notifier

if TYPE_CHECKING:
    from random import Random

    from anystrat.adapters.webhook import Webhook
    from anystrat.bootstrap.observing import Observation
    from anystrat.domain.clock import Clock
    from anystrat.domain.configuration import Configuration


class NotTaken(AnystratError):
    """The other side answered, and did not take the message."""


class WebhookPoster:
    """A webhook as the notifier wants it: what is not taken is an exception."""

    def __init__(self, webhook: Webhook) -> None:
        self._webhook = webhook

    async def open(self) -> None:
        """Connect."""
        await self._webhook.open()

    async def tell(self, body: bytes, key: str) -> None:
        """Post once. Raises `NotTaken`, `NotReached`, `Lost`."""
        answer = await self._webhook.post(body, key)
        if not 200 <= answer.status < 300:
            raise NotTaken(f"{self._webhook.host} answered HTTP {answer.status}")

    async def close(self) -> None:
        """Close its connections."""
        await self._webhook.close()


def notifier(
    configuration: Configuration, observation: Observation, *, clock: Clock, random: Random | None = None
) -> Notifier | None:
    """What tells people; None without a section `notify`. Raises `MissingExtra`."""
    settings = configuration.notify
    if settings is None:
        return None
    from anystrat.adapters.webhook import Webhook

    assert isinstance(settings.options, WebhookBroker)
    webhook = Webhook(settings.options, settings.rules.timeout_sec, clock)
    return Notifier(
        WebhookPoster(webhook),
        settings.rules,
        configuration.run.name,
        clock,
        random or SystemRandom(),
        observation.log,
        None if observation.meter is None else observation.meter.notifications,
    )
