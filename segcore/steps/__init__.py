"""The steps of a run: what goes into each key, and how each is built and published."""
