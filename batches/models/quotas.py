"""How fast this site may use what others give it."""

from django.db import models


class TokenBucket(models.Model):
    """A budget that every process of the site shares, filled as time passes."""

    name = models.SlugField(unique=True)
    tokens = models.FloatField()
    filled_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
