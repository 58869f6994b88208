"""From raw predictions to thresholds, filtered masks and COCO pseudo-annotations."""
