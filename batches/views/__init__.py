"""Pages about batches, a module for each. One verb per view.

Everything works without JavaScript. With it, files go up one by one, and a batch's page asks
for what has changed while it is live.
"""
