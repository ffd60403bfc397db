"""Functions on pictures. No Django, and nothing of the rest of `tools`."""
