"""The OpenAPI 3.1 document of the HTTP API."""

from core.openapi.specification import OpenApi, document

__all__ = ["OpenApi", "document"]
