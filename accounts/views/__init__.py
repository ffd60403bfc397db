"""Pages about people's accounts, a module for each concern. Everything works without JavaScript."""
