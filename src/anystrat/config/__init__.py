"""From configuration files, database rows and mappings to the checked values that the engine is built from."""

from anystrat.config.changes import Applied, Changes, change_to, changes_of
from anystrat.config.endpoint_types import EndpointTypes
from anystrat.config.load import (
    configuration_from_mapping,
    configuration_variants,
    load_configuration,
    row_from_mapping,
)

__all__ = [
    "Applied",
    "Changes",
    "EndpointTypes",
    "change_to",
    "changes_of",
    "configuration_from_mapping",
    "configuration_variants",
    "load_configuration",
    "row_from_mapping",
]
