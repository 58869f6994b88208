"""Cards on their way to the Prefect API: in a thread of their own, newest first, never in the way of a step.

A server that is slow or away costs cards, not time: requests have short time-outs, are not repeated by the client,
and after a failure the thread rests before it tries again.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

from httpx import HTTPStatusError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.settings import temporary_settings

logger = logging.getLogger(__name__)

MARKDOWN = "markdown"
TRY_AGAIN = (403, 408, 429)  # of the refusals, those that may pass: 403 is also an outdated CSRF token


@dataclass(frozen=True)
class Pace:
    """How patient a poster is, in seconds.

    update: between two updates of one card. request: for each part of a request. rest: after a failure.
    flush: at the end, for what is still waiting.
    """

    update_s: float = 1.0
    request_s: float = 3.0
    rest_s: float = 10.0
    flush_s: float = 5.0


class Place(NamedTuple):
    """Where a card hangs. The same key in another flow run or task run is another version of it."""

    key: str
    flow_run_id: UUID | None
    task_run_id: UUID | None


@dataclass(frozen=True)
class Card:
    """What is to be shown. build: returns the Markdown; called in the poster's thread, may read run files."""

    description: str
    build: Callable[[], str]


class Poster:
    """Shows cards while the block lasts: `with Poster() as poster: poster.post(place, card)`.

    A card at a place where there is one already updates it; of several that wait for a place, only the newest is sent.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self.pace = pace or Pace()
        self.changed = threading.Condition()
        self.waiting: dict[Place, Card] = {}
        self.not_before_s: dict[Place, float] = {}
        self.rest_until_s = 0.0
        self.sending = False
        self.hurry = False
        self.closed = False
        self.num_failed = 0
        self.artifact_ids: dict[Place, UUID] = {}

    def __enter__(self) -> Self:
        context = contextvars.copy_context()  # it holds the settings of the flow run
        # no daemon: one that is inside a C++ or Rust library when the interpreter ends aborts the process. It ends at
        # the latest a request's time-out after the block.
        threading.Thread(target=context.run, args=(self.work,), name="cards").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.flush()
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def post(self, place: Place, card: Card) -> None:
        """Have a card shown soon; returns at once."""
        with self.changed:
            if not self.closed:
                self.waiting[place] = card
                self.changed.notify_all()

    def flush(self) -> bool:
        """Send what waits, for pace.flush_s at most or until it fails; return whether all of it is sent."""
        with self.changed:
            self.hurry = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.closed or not (self.hurry and self.busy), self.pace.flush_s)
            self.hurry = False
            return not self.busy

    @property
    def busy(self) -> bool:
        """Return whether a card waits or is being sent."""
        return self.sending or bool(self.waiting)

    def work(self) -> None:
        """Send cards until closed. Whatever goes wrong ends the cards, nothing else."""
        try:
            # the retries that state changes need would hold a card back for minutes
            settings = temporary_settings({"client.max_retries": 0})
            with settings, get_client({"timeout": self.pace.request_s}, sync_client=True) as client:
                while (next_card := self.next_card()) is not None:
                    self.send(client, *next_card)
        except Exception as error:
            self.note_failure(error)
        finally:
            with self.changed:
                self.closed = True
                self.waiting.clear()
                self.sending = False
                self.changed.notify_all()

    def next_card(self) -> tuple[Place, Card] | None:
        """Wait for a card that is due and return it; None once closed."""
        with self.changed:
            self.sending = False
            self.changed.notify_all()
            while not self.closed:
                place = min(self.waiting, key=self.due_s, default=None)
                wait_s = None if place is None else self.due_s(place) - time.monotonic()
                if place is not None and wait_s is not None and (self.hurry or wait_s <= 0):
                    self.sending = True
                    return place, self.waiting.pop(place)
                self.changed.wait(wait_s)
            return None

    def due_s(self, place: Place) -> float:
        """Return when the card that waits for a place may be sent, on the monotonic clock."""
        return max(self.not_before_s.get(place, 0.0), self.rest_until_s)

    def send(self, client: SyncPrefectClient, place: Place, card: Card) -> None:
        """Build a card and send it; one that cannot be built is left out, one that cannot be sent waits again."""
        try:
            text = card.build()
        except Exception:
            logger.debug("card %s could not be made", place.key, exc_info=True)
            return
        try:
            self.put(client, place, card.description, text)
        except Exception as error:
            self.note_failure(error)
            if may_pass(error):
                self.wait_again(place, replace(card, build=lambda: text))
        self.not_before_s[place] = time.monotonic() + self.pace.update_s

    def put(self, client: SyncPrefectClient, place: Place, description: str, text: str) -> None:
        """Make a Prefect artifact, or update the one at this place."""
        known = self.artifact_ids.get(place)
        if known is not None:
            client.update_artifact(known, ArtifactUpdate(data=text, description=description))
            return
        made = client.create_artifact(
            ArtifactCreate(
                key=place.key,
                type=MARKDOWN,
                description=description,
                data=text,
                flow_run_id=place.flow_run_id,
                task_run_id=place.task_run_id,
            )
        )
        self.artifact_ids[place] = made.id

    def wait_again(self, place: Place, card: Card) -> None:
        """Put a card back unless there is a newer one, and rest."""
        with self.changed:
            self.waiting.setdefault(place, card)
            self.rest_until_s = time.monotonic() + self.pace.rest_s
            self.hurry = False

    def note_failure(self, error: Exception) -> None:
        """Count a failure; the first is a warning."""
        self.num_failed += 1
        level = logging.WARNING if self.num_failed == 1 else logging.DEBUG
        logger.log(level, "a card for the Prefect UI could not be sent, the run goes on: %s", type(error).__name__)


def may_pass(error: Exception) -> bool:
    """Return whether the same request may go better later: not one that the server understood and refused."""
    if not isinstance(error, HTTPStatusError):
        return True
    status = error.response.status_code
    return status >= 500 or status in TRY_AGAIN
