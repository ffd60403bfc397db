"""The composition root: it wires the apps together and decides nothing."""
