"""Child processes under supervision."""
