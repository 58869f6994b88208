"""The classes of the demo scenes and how each is drawn.

A class has several styles; a scene says which ones may be used (segcore/data/demo_scene.py). Colours, prints and shapes
overlap between classes on purpose: a white bottle, a white bag and crumpled white paper are told apart by their folds
and outline, a can, a bottle and a battery by their proportions.
"""

from __future__ import annotations

from segcore.data.demo_cartons import draw_carton
from segcore.data.demo_round_objects import draw_battery, draw_bottle, draw_can
from segcore.data.demo_soft_objects import draw_bag, draw_paper
from segcore.data.demo_sprites import Draw

NUM_STYLES = 5
RARE = "battery"
DRAW: dict[str, Draw] = {
    "bottle": draw_bottle,
    "can": draw_can,
    "carton": draw_carton,
    "paper": draw_paper,
    "bag": draw_bag,
    RARE: draw_battery,
}
CLASS_NAMES = tuple(DRAW)  # class ids 1..6; 0 is background
