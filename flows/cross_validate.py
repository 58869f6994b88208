"""k chains, each a whole run that never sees its fold; their out-of-fold predictions scored as one."""

from __future__ import annotations

from prefect import flow, runtime

from flows.final import has_pool
from flows.home import api_roots
from flows.pseudo_label_loop import pseudo_label_loop
from segcore.steps.chains import Chain, ChainEnd, ChainSpec, chain_specs, finished_chains, open_parent
from segcore.steps.fold_ensemble import EnsembleSpec, ensemble_shards, members_of
from segcore.steps.folds_outputs import FoldsSpec, FoldsSummary
from segcore.steps.out_of_fold import OutOfFold, OutOfFoldSpec
from segcore.steps.run import Run, refuse_if_cancelled
from tasks import folds
from tasks.cancel import stops_when_cancelled
from tasks.cards import window
from tasks.labelling import labelling


def run_name() -> str:
    """Return the flow run's name: the run_id it was given, else the config's file name."""
    parameters = runtime.flow_run.parameters
    return f"cross-validate {parameters.get('run_id') or parameters['config'].rsplit('/', 1)[-1].rsplit('.', 1)[0]}"


@flow(name="cross-validate", flow_run_name=run_name)
@stops_when_cancelled
def cross_validate(
    config: str,
    num_folds: int = 5,
    run_id: str | None = None,
    update: bool = False,
    overrides: list[str] | None = None,
) -> FoldsSummary:
    """Run the loop once a fold, each time without that fold; score every labelled image by the model that never saw it.

    It takes as long as num_folds runs. Chains are runs, RUN-fold0 and so on: each goes on where it stopped.

    Args:
        config: Path of the run config (YAML); relative to the worker's first root.
        num_folds: Parts that the labelled images, train and val together, are divided into.
        run_id: What the run_ids begin with; empty takes the config's own run_id, else its file name.
        update: Allow a changed config or changed data to redo what depends on it.
        overrides: Single fields to change, for example "train.iterations=300".
    """
    changes = overrides or []
    with window(), open_parent(config, run_id, update, changes, api_roots()) as run, labelling():
        specs = chain_specs(config, num_folds, run_id, changes)
        chains = finished_chains(run, [run_chain(run, config, spec, update) for spec in specs])
        found = folds.score_out_of_fold.submit(OutOfFoldSpec(run, chains)).result()
        summary: FoldsSummary = folds.publish_folds.submit(label_together(run, chains, found)).result()
        return summary


def run_chain(run: Run, config: str, spec: ChainSpec, update: bool) -> ChainEnd:
    """Run one chain to its end; one that fails, or is stopped by itself, leaves the others."""
    refuse_if_cancelled(run)
    state = pseudo_label_loop(config, spec.run_id, update, list(spec.overrides), return_state=True)
    refuse_if_cancelled(run)
    return ChainEnd(spec, state.result(raise_on_failure=False))


def label_together(run: Run, chains: tuple[Chain, ...], found: OutOfFold) -> FoldsSpec:
    """Have the ensemble label the pool, where there is one, and make pseudo-labels of it."""
    ensemble = EnsembleSpec(run, members_of(chains, found))
    if not has_pool(chains[0].index):
        return FoldsSpec(run, chains, found, None, ())
    futures = [folds.label_shard.submit(shard) for shard in ensemble_shards(ensemble)]
    shards = tuple(future.result() for future in futures)
    return FoldsSpec(run, chains, found, folds.filter_labels.submit(ensemble, shards, found).result(), shards)
