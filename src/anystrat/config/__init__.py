"""From configuration files, database rows and mappings to the checked values that the engine is built from."""

from anystrat.config.endpoint_types import EndpointTypes
from anystrat.config.load import configuration_from_mapping, load_configuration, row_from_mapping

__all__ = ["EndpointTypes", "configuration_from_mapping", "load_configuration", "row_from_mapping"]
