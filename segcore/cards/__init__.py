"""What a person sees of a run in the Prefect UI, as Markdown; pure text, Prefect is not known here."""
