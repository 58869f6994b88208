"""Every error segloop raises on purpose.

::

    SegloopError
    ├── ConfigError          a run config, override or combination of fields is wrong
    ├── DataError            a COCO file, image, mask or folder is not what it must be
    ├── CheckpointError      weights or a model config cannot be used
    ├── RunError             a run folder cannot be used as asked
    │   ├── RunLockedError   another process works on this run
    │   ├── RunChangedError  the config under this run_id is not the one it was started with
    │   └── ApprovalNeeded   a person has to say whether the next round may start
    ├── HonestScoreError     too few images are left that may score this lineage
    └── StepError            a step failed: its child process died, or its output is not usable
        └── CancelledError   somebody asked for the run to stop

Each message names the file or field, what was expected, what was found, and the remedy.
"""

from __future__ import annotations


class SegloopError(Exception):
    """Base of all errors raised on purpose; the command line prints its message without a traceback."""

    exit_code = 1


class ConfigError(SegloopError):
    """A run config, an override or a combination of fields is wrong."""

    exit_code = 2


class DataError(SegloopError):
    """A COCO file, image, mask or folder is not what it must be."""

    exit_code = 3


class CheckpointError(SegloopError):
    """Weights or a model config cannot be used."""

    exit_code = 4


class RunError(SegloopError):
    """A run folder cannot be used as asked."""

    exit_code = 5


class RunLockedError(RunError):
    """Another process works on this run."""

    exit_code = 6


class RunChangedError(RunError):
    """The config under this run_id differs from the one the run was started with."""

    exit_code = 7


class ApprovalNeeded(RunError):  # noqa: N818 - nothing went wrong
    """A person has to say whether the next round may start."""

    exit_code = 11


class HonestScoreError(SegloopError):
    """Too few images are left that may honestly score this lineage."""

    exit_code = 8


class StepError(SegloopError):
    """A step failed: its child process died, or its output is not usable."""

    exit_code = 9


class CancelledError(StepError):
    """Somebody asked for the run to stop."""

    exit_code = 10
