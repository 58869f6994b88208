"""Score a model on labelled images that it has never seen."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow

from flows.home import refuse_outside_roots
from segcore.steps.evaluate_set import EvaluateSetSpec, SetScore
from segcore.steps.honest_set import Provenance
from segcore.steps.model_files import ModelRequest, ViewRequest
from tasks import use
from tasks.cancel import stops_when_cancelled
from tasks.cards import window


@flow(name="evaluate", flow_run_name="evaluate on {annotations}")
@stops_when_cancelled
def evaluate(
    annotations: str,
    images: str,
    run: str | None = None,
    checkpoint: str | None = None,
    config: str | None = None,
    trained_on: Sequence[str] = (),
    foreign_unseen: bool = False,
    min_images: int | None = None,
    unannotated: str | None = None,
    classes: str | None = None,
    views: Sequence[int] | None = None,
    flip: bool | None = None,
    device: str = "auto",
    json_path: str | None = None,
) -> SetScore:
    """Score a model; images in its lineage, and near-duplicates of them, are left out and counted.

    Args:
        annotations: COCO file with the truth.
        images: Folder its file names are relative to.
        run: Run folder, or run_id under artifacts/: takes the model in its outputs/.
        checkpoint: Weights file; a lineage.json beside it tells what it was trained on.
        config: mmsegmentation config of the checkpoint; empty takes model_config.py beside it. It is executed.
        trained_on: Folders, or "list.json:folder", of images the model was trained on, where no lineage tells.
        foreign_unseen: The user states that the model has seen none of these images nor copies; noted in the result.
        min_images: Fewer honest images than this: no score. Empty takes the run's roles.min_gate_images, 10.
        unannotated: Meaning of pixels without annotation, "background" or "ignore"; empty takes the run's.
        classes: Of a model from outside: names by class id, "a,b,c", or a COCO file with its categories.
        views: Longer sides of the test-time views, px; empty takes those of the model's run.
        flip: Add the mirror image of each view; empty takes the run's choice.
        device: "auto", "cpu", "cuda", "cuda:1" …
        json_path: File for the result; empty writes none.
    """
    refuse_outside_roots(
        annotations=annotations, images=images, run=run, checkpoint=checkpoint, config=config, trained_on=trained_on,
        classes=classes, json_path=json_path,
    )  # fmt: skip
    spec = EvaluateSetSpec(
        ModelRequest(run, checkpoint, config, classes), annotations, images,
        Provenance(tuple(trained_on), foreign_unseen),
        ViewRequest(None if views is None else tuple(views), flip, device), min_images, unannotated, json_path,
    )  # fmt: skip
    with window():
        score: SetScore = use.evaluate.submit(spec).result()
        return score
