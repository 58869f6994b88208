"""Label a folder of images with one or several trained models."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import flow
from prefect.task_runners import ThreadPoolTaskRunner

from flows.home import refuse_outside_roots
from segcore.steps.ensemble import EnsembleRequest
from segcore.steps.model_files import ViewRequest
from segcore.steps.predict_folder import PredictSpec, PredictSummary, open_folder
from tasks import use
from tasks.cancel import stops_when_cancelled
from tasks.cards import window
from tasks.labelling import LABEL_THREADS, labelling


@flow(
    name="predict",
    flow_run_name="predict {images}",
    task_runner=ThreadPoolTaskRunner(max_workers=LABEL_THREADS),  # type: ignore[arg-type]
)
@stops_when_cancelled
def predict(
    images: str,
    out: str,
    formats: Sequence[str] = ("coco",),
    run: str | None = None,
    checkpoints: Sequence[str] = (),
    configs: Sequence[str] = (),
    weights: Sequence[float] = (),
    classes: str | None = None,
    views: Sequence[int] | None = None,
    flip: bool | None = None,
    size: tuple[int, int] = (256, 256),
    device: str = "auto",
) -> PredictSummary:
    """Label every image under a folder; several models vote by the mean of their probabilities.

    Started again after an interruption it goes on where it stopped.

    Args:
        images: Image folder, subfolders included.
        out: Folder for the results, outside of images.
        formats: What is written, one or several of coco (annotations.json), png (class ids as palette PNGs), overlay
            (photos with classes drawn over them), parquet (label maps with confidence) and csv (competition rows).
        run: Run folder, or run_id under artifacts/: takes the model in its outputs/.
        checkpoints: Weights files, or folders of students or runs; with run they vote together.
        configs: mmsegmentation config of each model, in order, or of each that has no model_config.py beside its
            weights. They are executed.
        weights: Share of each model in the vote, in order; empty gives all the same.
        classes: Of models from outside: names by class id, "a,b,c", or a COCO file with its categories.
        views: Longer sides of the test-time views, px; empty takes those of the first model's run.
        flip: Add the mirror image of each view; empty takes the run's choice.
        size: Height and width of the csv's label maps, px.
        device: "auto" (every GPU), "cpu", "cuda", "cuda:1" ...
    """
    refuse_outside_roots(images=images, out=out, run=run, checkpoints=checkpoints, configs=configs, classes=classes)
    ensemble = EnsembleRequest(run, tuple(checkpoints), tuple(configs), tuple(weights), classes)
    view_request = ViewRequest(None if views is None else tuple(views), flip, device)
    spec = PredictSpec(ensemble, images, out, tuple(formats), view_request, size)
    with window(), open_folder(spec) as folder, labelling():
        futures = [use.predict_shard.submit(shard) for shard in folder.shards()]
        shards = tuple(future.result() for future in futures)
        summary: PredictSummary = use.write_predictions.submit(out, shards).result()
        return summary
