"""The models that visitors may choose among: what each costs, which are in memory,
and the pages that show them.
"""

import contextvars
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from api.routes import routes
from common.folders import expanded
from lab.head import Way, Ways
from lab.policies import served
from lm import LanguageModel, Policies, SourceError, Stopped, load
from lm.caller import CALLER, Caller
from lm.loading import check, fetch
from lm.paths import cache_folder, replacing
from lm.places import Cost, NotInMemory, Occupied, Places, Sleeper
from lm.policy import BASE
from lm.sources import DEFAULT_NAME, Progress, is_path, label_of
from steering import Library
from ui.doors import BELOW, Door
from ui.server import Page, mounted

log = logging.getLogger(__name__)
COSTS = "costs.json"
_furnishing = threading.Lock()
"""Gradio builds one page at a time."""
BROKEN = "Its page failed by a fault of the app, which its log explains."
Furnish = Callable[["Choice", Ways], Page]
"""Makes the page of a model that is in memory, with the ways to the others."""


def offered(names: Sequence[str]) -> list[str]:
    """The models that the operator names, and the embedded default, each once."""
    return [*dict.fromkeys([*names, DEFAULT_NAME])]


class Choice:
    """A model that visitors may choose. name: as the operator gave it; slug: what its address ends in."""

    def __init__(
        self,
        name: str,
        slug: str,
        places: Places,
        furnish: Callable[["Choice"], Page],
        cost: Cost | None,
    ):
        self.name, self.slug, self.label = name, slug, label_of(name)
        self.model: Sleeper = places.model(self.label, self._load)
        self.model.cost = cost
        self._places, self._furnish = places, furnish
        self._report: Progress | None = None
        self._progress: tuple[float, str] = 0.0, ""
        self._fetching = 0.0
        self._guard = threading.Lock()
        self._opening: threading.Thread | None = None
        self.page: FastAPI | None = None
        self.problem = self.waits = ""
        self._failed = False
        self._known = is_path(name) or name == DEFAULT_NAME

    @cached_property
    def library(self) -> Library:
        """Its concepts; a model that never was awake is woken for them."""
        self._ready()
        return Library(self.model)

    @cached_property
    def served(self) -> tuple[Policies, list[str]]:
        """What the HTTP API answers as, and the names of that."""
        return served(self.library)

    @property
    def listed(self) -> list[str]:
        """The names of its policies, as far as they are known before it was loaded; none where it cannot be,
        or where no hub has said yet that it is there.
        """
        if self.model.hash:
            return [] if self._failed else self.served[1]
        return [] if self._failed or not self._known or self._is_missing() else [BASE]

    @property
    def opening(self) -> bool:
        """Whether its page is being made."""
        return self._opening is not None and self._opening.is_alive()

    def open(self) -> None:
        """Begins to make its page, unless it exists or is being made."""
        with self._guard:
            if self.page is None and not self.opening:
                self.problem = ""
                self._opening = threading.Thread(
                    target=contextvars.Context().run, args=(self._open,), daemon=True
                )
                self._opening.start()

    def state(self) -> dict[str, Any]:
        """What the pages tell of it."""
        cost = self.model.cost
        began = self._fetching or (self.model.began if self._places.is_waking(self.model) else 0.0)
        loading = began > 0
        memory = "ready" if self.model.awake else "asleep"
        fraction, note = self._progress
        return {
            "name": self.label,
            "slug": self.slug,
            "state": "loading" if loading else memory,
            "open": self.page is not None,
            "seconds": cost and cost.seconds,
            "bytes": cost and cost.bytes,
            "elapsed": time.monotonic() - began if loading else None,
            "fraction": fraction if loading else None,
            "note": note if loading else "",
            "problem": self.problem,
            "waits": self.waits,
        }

    def furnish(self, report: Progress | None = None) -> Page:
        """Loads it, and makes its page, now. Raises NotInMemory."""
        self._report = report
        self._ready()
        _ = self.model.engine
        assert self.model.cost is not None  # it is awake
        _keep(self.name, self.model.cost)
        with _furnishing:
            return self._furnish(self)

    def _api(self) -> list[Route]:
        policies, names = self.served
        return routes(lambda name: (policies, name), lambda: dict.fromkeys(names, self.label))

    def _ready(self) -> None:
        """Fetches it where it never was awake, before it takes a place in memory, and wakes it."""
        if self.model.hash:
            return
        self._fetching = time.monotonic()
        try:
            with self._loading():
                fetch(self.name, self._note)
        finally:
            self._fetching = 0.0
        _ = self.model.engine

    def check(self) -> None:
        """Looks at its folder, or asks the hub, and lists it where it is there. Raises SourceError, ValueError."""
        check(self.name)
        self._known = True

    def _is_missing(self) -> bool:
        """Whether a look at its folder tells that it cannot be loaded; a hub is not asked."""
        if not is_path(self.name):
            return False
        try:
            check(self.name)
        except (SourceError, ValueError):
            return True
        return False

    def _note(self, fraction: float, text: str) -> None:
        self._progress = fraction, text
        if self._report is not None:
            self._report(fraction, text)

    @contextmanager
    def _loading(self) -> Iterator[None]:
        """Notes whether it fails. The sentence for visitors does not tell where the operator keeps the model."""
        try:
            yield
        except Stopped:
            raise
        except Exception as error:
            self._failed = True
            if isinstance(error, (SourceError, ValueError)):
                raise NotInMemory(self._discreet(str(error))) from error
            raise
        self._failed = False

    def _discreet(self, problem: str) -> str:
        for name in (self.name, str(expanded(self.name))):
            problem = problem.replace(name, self.label)
        return problem

    def _open(self) -> None:
        CALLER.set(caller := Caller(self))
        waits = ""
        try:
            page = self.furnish()
            self.page = mounted(page, f"{BELOW}{self.slug}", self._api())
        except Occupied as error:
            waits = str(error)
        except NotInMemory as error:
            self.problem = str(error)
        except Stopped:
            pass
        except Exception as error:
            log.error("a model's page could not be made", exc_info=error)
            self.problem = BROKEN
        finally:
            self.waits = waits
            caller.left.set()

    def _load(self) -> LanguageModel:
        self._progress = 0.0, ""
        with self._loading():
            model = load(self.name, progress=self._note)
            model.give_way()
        return model


class Models:
    """The models that the operator allows, the first of them at the app's own address."""

    def __init__(self, names: Sequence[str], most: int, furnish: Furnish):
        """most: in memory at once; furnish: makes a model's page."""
        if most < 1:
            raise ValueError(f"Models in memory is {most}: give a number from 1 on.")
        self.places = Places(most)
        costs = _costs()
        self.choices = [
            Choice(
                name, slug, self.places, lambda choice: furnish(choice, self._ways(choice)), costs.get(name)
            )
            for name, slug in zip(names, _slugs(names), strict=True)
        ]

    @property
    def first(self) -> Choice:
        """The one at the app's own address."""
        return self.choices[0]

    @property
    def doors(self) -> dict[str, Door]:
        """The pages by the last part of their addresses; none where there is one model."""
        return {choice.slug: choice for choice in self.choices} if len(self.choices) > 1 else {}

    def lacking(self) -> Iterator[str]:
        """A sentence for each of the other models that cannot be loaded,
        as far as that is known before it is fetched.
        """
        for choice in self.choices[1:]:
            try:
                choice.check()
            except (SourceError, ValueError) as error:
                yield str(error)

    def api(self) -> list[Route]:
        """The HTTP API's routes at the app's own address: the first model's policies by their names, those of
        all models behind the model's name, as in NAME/base.
        """
        return routes(self._chosen, self._listed)

    def _chosen(self, name: str) -> tuple[Policies, str]:
        slug, _, policy = name.partition("/")
        choice = self.doors.get(slug)
        if not isinstance(choice, Choice):
            return self.first.served[0], name
        return choice.served[0], policy or BASE

    def _listed(self) -> dict[str, str]:
        return {
            name if choice is self.first else f"{choice.slug}/{name}": choice.label
            for choice in self.choices
            for name in choice.listed
        }

    def _ways(self, here: Choice) -> Ways:
        """From the page of one model to all pages."""
        up = "./" if here is self.first else "../../"
        ways = (
            Way(each.label, up + ("" if each is self.first else f"models/{each.slug}/"), each is here)
            for each in self.choices
        )
        return Ways(tuple(ways), self.places.most)


def _costs() -> dict[str, Cost]:
    """What models cost when they were loaded last on this machine."""
    try:
        costs = json.loads((cache_folder("models") / COSTS).read_text("utf-8"))
        return {name: Cost(float(seconds), int(bytes)) for name, (seconds, bytes) in costs.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _keep(name: str, cost: Cost) -> None:
    costs = {known: (each.seconds, each.bytes) for known, each in {**_costs(), name: cost}.items()}
    try:
        with replacing(cache_folder("models") / COSTS) as part:
            part.write_text(json.dumps(costs))
    except OSError as error:  # a full or read-only cache
        log.info("what a model costs is not kept: %s", error)


def _slugs(names: Sequence[str]) -> list[str]:
    """The last parts of the models' addresses: what they are called,
    and a number where two are called the same.
    """
    slugs: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", label_of(name).rsplit("/", 1)[-1]).strip(".-") or "model"
        same = sum(re.fullmatch(rf"{re.escape(plain)}(-\d+)?", slug) is not None for slug in slugs)
        slugs.append(f"{plain}-{same + 1}" if same else plain)
    return slugs
