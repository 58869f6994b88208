"""The subject of segloop: data, training, labelling, trust and run files. Knows nothing of Prefect."""
