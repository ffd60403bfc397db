"""Where images come from. A source turns what a person gave into rows, and knows no models."""
