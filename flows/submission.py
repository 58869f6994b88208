"""The competition CSV of a finished run."""

from __future__ import annotations

from prefect import flow

from flows.home import refuse_outside_roots
from segcore.steps.submission import MakeSubmissionSpec, SubmissionSummary
from tasks import use
from tasks.cancel import stops_when_cancelled
from tasks.cards import window


@flow(name="make-submission", flow_run_name="submission of {run}")
@stops_when_cancelled
def make_submission(run: str, out: str, size: tuple[int, int] | None = None, refit: bool = False) -> SubmissionSummary:
    """Write and check the CSV of a run's test images, in the order of its test list.

    Args:
        run: Run folder, or run_id under artifacts/.
        out: CSV to write.
        size: Height and width, px; empty takes the run's outputs.submission_size. At another size the test images
            are labelled again, since class ids are never interpolated.
        refit: Label with the model of the final refit, which has learnt from val too and is not scored.
    """
    refuse_outside_roots(run=run, out=out)
    with window():
        summary: SubmissionSummary = use.submit.submit(MakeSubmissionSpec(run, out, size, refit)).result()
        return summary
