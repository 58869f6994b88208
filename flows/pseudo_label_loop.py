"""The loop: train, label, retrain, while an honest score improves."""

from __future__ import annotations

from prefect import flow, runtime

from flows.approval import may_go_on
from flows.final import finish
from flows.home import api_roots
from flows.round import pseudo_label_round
from segcore.records import RoundRecord
from segcore.steps.inspect_labels import StoppedByAlarm
from segcore.steps.outputs import RunSummary
from segcore.steps.run import open_run
from tasks import steps
from tasks.cancel import stops_when_cancelled
from tasks.cards import window
from tasks.labelling import labelling


def run_name() -> str:
    """Return the flow run's name: the run_id it was given, else the config's file name."""
    parameters = runtime.flow_run.parameters
    return str(parameters.get("run_id") or parameters["config"].rsplit("/", 1)[-1].rsplit(".", 1)[0])


@flow(name="pseudo-label-loop", flow_run_name=run_name)
@stops_when_cancelled
def pseudo_label_loop(
    config: str, run_id: str | None = None, update: bool = False, overrides: list[str] | None = None
) -> RunSummary:
    """Train, label, retrain; stop when the gate says so and end on the best round.

    Args:
        config: Path of the run config (YAML), for example configs/demo.yaml; relative to the worker's first root.
        run_id: Name of the run; empty takes the config's own run_id, else its file name. The same name goes on
            with the same run.
        update: Allow a changed config or changed data to redo what depends on it.
        overrides: Single fields to change, for example "train.iterations=300".
    """
    with window(), open_run(config, run_id, update, overrides or (), api_roots()) as run, labelling():
        index = steps.index_images.submit(run).result()
        history: tuple[RoundRecord, ...] = ()
        while may_go_on(run, history):
            done = pseudo_label_round(run, index, len(history), history)
            if isinstance(done, StoppedByAlarm):
                return finish(run, index, history, done)
            history = (*history, done)
        return finish(run, index, history)
