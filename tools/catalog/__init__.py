"""One file per tool. None imports another; `tools.registry` finds them all."""
