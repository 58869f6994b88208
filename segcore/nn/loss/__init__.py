"""What is minimised: weights of pixels, hard pixels, region losses, put into any mmseg network (apply.py)."""
