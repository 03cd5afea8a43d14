"""What a start does once its settings are known to be right: the votes, the models, the page, the server."""

import os
import sys
import threading
from argparse import Namespace
from functools import partial

from huggingface_hub import HfApi
from starlette.middleware import Middleware

import arena
from api.errors import Formed
from arena import space
from lab.head import Ways
from lab.learner import Learner
from lab.models import Choice, Models, offered
from lab.panel import compose
from lab.preparer import Preparer
from lm import zero_gpu
from lm.places import NotInMemory
from lm.sources import allowed
from ui import log
from ui.server import Page, serve


def launch(options: Namespace) -> None:
    """Loads the first model and serves its page until the process ends. options: those of `app.settings`."""
    log.begin(options.debug)
    if zero_gpu.here():
        zero_gpu.declare()
        print(f"warning: {zero_gpu.WARNING}", file=sys.stderr)
    store = arena.Store()
    if warning := space.warning(store.file):
        print(f"warning: {warning}", file=sys.stderr)
    mirrored(store)
    space.login()
    models = Models(
        offered(options.model or allowed(os.environ.get("TRADEWIND_MODEL"))),
        options.models_in_memory,
        partial(furnish, store, options.prepare),
    )
    try:
        page = models.first.furnish(
            lambda fraction, text: print(
                f"\r{text}: {fraction:4.0%}", end="" if fraction < 1 else "\n", flush=True
            )
        )
    except NotInMemory as error:
        raise error.__cause__ or error from None
    # the hub may take its time to answer, and the page does not wait for it
    threading.Thread(target=warn, args=(models,), daemon=True).start()
    formed = [Middleware(Formed)]
    serve(page, options.host, options.port, store.check, models.api(), models.doors, formed)


def mirrored(store: arena.Store, api: HfApi | None = None) -> arena.Mirror | None:
    """Reloads the votes from the dataset repository TRADEWIND_VOTES_REPO, and keeps them there. Raises
    arena.ArenaError.
    """
    repo = os.environ.get("TRADEWIND_VOTES_REPO")
    return arena.Mirror(store, repo, api=api) if repo else None


def warn(models: Models) -> None:
    """Warns of the further models that cannot be loaded: their pages say so too, once somebody opens them."""
    for problem in models.lacking():
        print(f"warning: {problem}", file=sys.stderr)


def furnish(store: arena.Store, prepares: bool, choice: Choice, ways: Ways) -> Page:
    """The page of a model that is in memory."""
    model, library = choice.model, choice.library
    preparer = Preparer(library, choice.name, allowed=prepares)
    return compose(model, store, library, preparer, Learner(model, choice.name, store), ways)
