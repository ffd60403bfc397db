"""What can be done to one image. Knows no user, no queue and no money."""
