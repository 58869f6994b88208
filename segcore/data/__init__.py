"""Images, masks, COCO files, roles and the demo data. No torch."""
