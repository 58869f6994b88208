"""Training and prediction: the only package that imports torch and mmsegmentation."""
