"""What the Kafka source and the Kafka sink share: librdkafka's settings, and what its errors mean."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from anystrat.domain.errors import AnystratError, MissingExtra

if TYPE_CHECKING:
    from anystrat.domain.configuration import Secret

_PROPERTY: Final = re.compile(r'configuration property "([a-z._]+)"|property: "([a-z._]+)"')
#: What librdkafka itself would write to standard error goes here, warnings and worse.
LOG: Final = logging.getLogger("anystrat.kafka")


class KafkaSettingsRefused(AnystratError):
    """librdkafka does not take the settings; the text names the one, and no value."""

    exit_code = 3


def library() -> Any:
    """The module `confluent_kafka`. Raises `MissingExtra`."""
    try:
        import confluent_kafka
    except ImportError:
        raise MissingExtra("Kafka", "kafka") from None
    return confluent_kafka


def settings(bootstrap_servers: str, options: Mapping[str, Secret], ours: Mapping[str, Any]) -> dict[str, Any]:
    """The user's settings of librdkafka, and ours over them."""
    given = {name: secret.reveal() for name, secret in options.items()}
    return {"client.id": "anystrat", "log_level": 4, **given, "bootstrap.servers": bootstrap_servers, **ours}


def refused(error: Exception) -> KafkaSettingsRefused:
    """What librdkafka said of its settings, without the values: one of them may be a password at a wrong place."""
    found = _PROPERTY.search(str(error))
    name = (found.group(1) or found.group(2)) if found else ""
    what = f"the setting {name!r}" if name else "one of the settings"
    return KafkaSettingsRefused(f"Kafka: librdkafka does not take {what} in `options`")


def reason(error: Any) -> str:
    """A `KafkaError` in words."""
    return str(error.str() or error.name())
