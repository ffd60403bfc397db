"""Who uses the site: users, their API keys, and what their plan allows."""
