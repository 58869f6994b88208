"""Run configuration: one YAML file per run, checked before anything else happens."""
