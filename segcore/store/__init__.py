"""Run files: keys, manifests, atomic publishing, locks, quarantine."""
