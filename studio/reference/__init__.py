"""The reference of the HTTP API: the OpenAPI document as a page that people read."""
