"""The heart: many images, one tool, paid for. The only place where work meets money."""
