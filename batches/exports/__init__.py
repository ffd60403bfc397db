"""Ways for results to leave the site. Each reads a batch and knows nothing of how it ran."""
