"""Several models, of which only some are in memory: the others sleep, and wake when they are asked."""

import ctypes
import gc
import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import psutil

from lm.caller import CALLER, NOBODY
from lm.model import LanguageModel
from lm.sources import SourceError, reason

log = logging.getLogger(__name__)
PATIENCE = 20.0
"""Seconds that a request waits for a place which the work of others holds."""
GLANCE = 0.1
"""Seconds between two looks at whether a place is free."""
IN_MEMORY = frozenset({"engine", "busy", "_loop", "_torch_model"})
"""What a model has only while it is in memory."""
DERIVED = ("torch", "stack")
"""What is made of that on demand, and goes with it."""


class NotInMemory(ValueError):
    """A model that is asked cannot answer now; the message says why."""


class Occupied(NotInMemory):
    """Other models are at work in all places."""


@dataclass(frozen=True)
class Cost:
    """What it took to load a model: seconds, and bytes of memory."""

    seconds: float
    bytes: int


class Sleeper(LanguageModel):
    """A model that answers as any other, and whose weights leave the memory when others need the place.

    Whoever asks for something of it that takes memory wakes it, and keeps it awake until they leave
    (lm.caller). What takes none, such as its tokenizer, is there from its first wake on.
    """

    def __init__(self, name: str, load: Callable[[], LanguageModel], places: "Places"):
        """load: reads it from disk."""
        self.name, self._load, self._places = name, load, places
        self.hash = ""
        self._awake: LanguageModel | None = None
        self._users: WeakSet[threading.Event] = WeakSet()
        self.used = self.began = self.woken = 0.0
        self.cost: Cost | None = None

    def __getattr__(self, attribute: str) -> Any:
        if attribute in IN_MEMORY:
            return getattr(self._places.hold(self), attribute)
        raise AttributeError(f"A model that has not been awake yet has no {attribute}.")

    @property
    def awake(self) -> bool:
        """Whether it is in memory."""
        return self._awake is not None

    @property
    def at_work(self) -> bool:
        """Whether somebody waits for an answer of it, or it computes."""
        if any(not left.is_set() for left in self._users):
            return True
        return self._awake is not None and (self._awake.busy.locked() or self._awake.decoding)

    def _wake(self) -> LanguageModel:
        """Reads it from disk. Raises NotInMemory where that fails, or gives another model than before."""
        try:
            fresh = self._load()
        except NotInMemory:
            raise
        except (SourceError, ValueError) as error:
            raise NotInMemory(str(error)) from error
        except OSError as error:  # a disk or a cache, of which visitors need not know where it lies
            why = error.strerror or "the cache cannot be written"
            raise NotInMemory(
                f"{self.name} cannot be loaded ({why}): free the disk or mend its rights, or choose another model."
            ) from error
        except Exception as error:
            log.error("a model could not be loaded", exc_info=error)
            raise NotInMemory(
                f"{self.name} cannot be loaded ({reason(error)}): mend its files, or choose another model."
            ) from error
        if self.hash and fresh.hash != self.hash:
            raise NotInMemory(f"The files of {self.name} have changed since the app began: start it again.")
        lasting = {
            key: value for key, value in vars(fresh).items() if key not in IN_MEMORY and key not in DERIVED
        }
        vars(self).update(lasting | {"name": self.name})
        return fresh

    def _sleep(self) -> None:
        for derived in DERIVED:
            vars(self).pop(derived, None)
        self._awake = None


class Places:
    """Places in memory for models, `most` at once.

    Where none is free, the model sleeps that nobody works with and that was asked longest ago. Requests take
    turns: one that waits for a place comes before those that ask later, also for models in memory; all that
    wait for one model begin when it wakes.
    """

    def __init__(self, most: int = 1):
        self.most = most
        self._models: list[Sleeper] = []
        self._line: list[_Request] = []
        self._waking: Sleeper | None = None
        self._loaded = 0.0
        self._changed = threading.Condition()

    def model(self, name: str, load: Callable[[], LanguageModel]) -> Sleeper:
        """A model that shares the places, asleep at first. load: reads it from disk."""
        self._models.append(Sleeper(name, load, self))
        return self._models[-1]

    def is_waking(self, model: Sleeper) -> bool:
        """Whether it is being read from disk."""
        return self._waking is model

    def hold(self, model: Sleeper) -> LanguageModel:
        """The model in memory, where it stays until the caller leaves. Raises NotInMemory, lm.Stopped."""
        caller = CALLER.get()
        with self._changed:
            if model._awake is not None and (caller is NOBODY or caller.left in model._users):
                return model._awake
            self._wait(model)
            model.used = time.monotonic()
            if caller is not NOBODY:
                model._users.add(caller.left)
            if model._awake is not None:
                return model._awake
            self._waking, model.began = model, model.used
            self._make_room()
        try:
            return self._woken(model)
        except BaseException:
            model._users.discard(caller.left)
            raise
        finally:
            with self._changed:
                self._waking, self._loaded = None, time.monotonic()
                self._changed.notify_all()

    def _woken(self, model: Sleeper) -> LanguageModel:
        release()
        before, began = psutil.Process().memory_info().rss, time.monotonic()
        fresh = model._wake()
        taken = psutil.Process().memory_info().rss - before
        known = model.cost.bytes if model.cost else 0  # a later load reuses freed memory
        model.cost = Cost(time.monotonic() - began, max(known, taken))
        model.woken, model._awake = time.monotonic(), fresh
        return fresh

    def _wait(self, model: Sleeper) -> None:
        """Waits for the turn of a request: until its model is awake, or may be read."""
        caller, request = CALLER.get(), _Request(model)
        self._line.append(request)
        try:
            while not self._has_turn(request):
                caller.check()
                if caller is not NOBODY and self._held_since(request) > PATIENCE:
                    raise Occupied(self._why(model))
                self._changed.wait(GLANCE)
        finally:
            self._line.remove(request)
            self._changed.notify_all()

    def _has_turn(self, request: "_Request") -> bool:
        if request.model.awake and request.since < request.model.woken:
            return True  # all who waited for a model begin with it
        earlier = self._line[: self._line.index(request)]
        if any(not other.model.awake and other.model is not self._waking for other in earlier):
            return False
        return request.model.awake or (self._waking is None and self._has_room())

    def _has_room(self) -> bool:
        awake = [model for model in self._models if model.awake]
        return len(awake) < self.most or not all(model.at_work for model in awake)

    def _make_room(self) -> None:
        awake = [model for model in self._models if model.awake]
        idle = sorted((model for model in awake if not model.at_work), key=lambda model: model.used)
        for model in idle[: max(0, len(awake) + 1 - self.most)]:
            model._sleep()

    def _held_since(self, request: "_Request") -> float:
        """Seconds that the work of others has delayed a request, not counting the loading of a model."""
        return 0.0 if self._waking else time.monotonic() - max(request.since, self._loaded)

    def _why(self, model: Sleeper) -> str:
        """Why a request has waited in vain."""
        others = " and ".join(other.name for other in self._models if other.awake)
        return f"{model.name} waits for memory, where {others} still answers others: try again in a moment."


@dataclass(eq=False, frozen=True)
class _Request:
    """A request that waits in line."""

    model: Sleeper
    since: float = field(default_factory=time.monotonic)


def release() -> None:
    """Gives memory that nothing refers to back to the system: allocators keep it for themselves otherwise."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # glibc has it
            trim(0)
