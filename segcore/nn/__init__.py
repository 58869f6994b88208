"""Models, training and labelling: the only place that imports torch, mmengine, mmseg, mmcv."""
