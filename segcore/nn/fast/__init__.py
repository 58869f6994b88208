"""A segmentor made fast for labelling, with the result it had but for rounding: network.py is the way in."""
