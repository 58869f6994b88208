"""Label a folder of images with a trained model."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from flows.home import refuse_outside_roots
from segcore.steps.model_files import ModelRequest, ViewRequest
from segcore.steps.predict_folder import PredictSpec, PredictSummary
from tasks import use
from tasks.cancel import stops_when_cancelled
from tasks.cards import window


@flow(name="predict", flow_run_name="predict {images}")
@stops_when_cancelled
def predict(
    images: str,
    out: str,
    format: str = "coco",
    run: str | None = None,
    checkpoint: str | None = None,
    config: str | None = None,
    classes: str | None = None,
    views: Sequence[int] | None = None,
    flip: bool | None = None,
    size: tuple[int, int] = (256, 256),
    device: str = "auto",
) -> PredictSummary:
    """Label every image under a folder; the model is named by run or by checkpoint.

    Args:
        images: Image folder, subfolders included.
        out: Folder for the results, outside of images.
        format: What is written: coco (annotations.json), png (class ids as palette PNGs), overlay (photos with classes
            drawn over them), parquet (label maps with confidence) or csv (competition rows).
        run: Run folder, or run_id under artifacts/: takes the model in its outputs/.
        checkpoint: Weights file.
        config: mmsegmentation config of the checkpoint; empty takes model_config.py beside it. It is executed.
        classes: Of a model from outside: names by class id, "a,b,c", or a COCO file with its categories.
        views: Longer sides of the test-time views, px; empty takes those of the model's run.
        flip: Add the mirror image of each view; empty takes the run's choice.
        size: Height and width of the csv's label maps, px.
        device: "auto", "cpu", "cuda", "cuda:1" …
    """
    refuse_outside_roots(images=images, out=out, run=run, checkpoint=checkpoint, config=config, classes=classes)
    model = ModelRequest(run, checkpoint, config, classes)
    view_request = ViewRequest(None if views is None else tuple(views), flip, device)
    spec = PredictSpec(model, images, out, format, view_request, size)
    with window():
        summary: PredictSummary = use.predict.submit(spec).result()
        return summary
