"""Where the environment says that the app listens. To be imported before Gradio, which reads these variables as
it is imported, ends at a port that is no number, and knows no IPv6 address among them. The hub's client ends in the
same way at variables of its own, and says so here first.
"""

import os
import sys

from common.command import require_folder

require_folder()


def _below(root: str) -> str:
    """The path that a proxy serves the app under, with a slash before it and none behind; an address as it is."""
    root = root.strip().rstrip("/")
    return root if "://" in root or not root else "/" + root.lstrip("/")


HOST, PORT = (os.environ.pop(name, "").strip() for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"))
if "GRADIO_ROOT_PATH" in os.environ:
    os.environ["GRADIO_ROOT_PATH"] = _below(os.environ["GRADIO_ROOT_PATH"])
try:
    import huggingface_hub.constants  # noqa: F401
except ValueError as error:  # numbers and addresses in its variables
    print(
        f"error: A variable of the hub's client (HF_...) cannot be used ({error}): mend it, or unset it.",
        file=sys.stderr,
    )
    sys.exit(2)
