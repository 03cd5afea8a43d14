"""Where the environment says that the app listens. To be imported before Gradio, which reads these variables as
it is imported, ends at a port that is no number, and knows no IPv6 address among them.
"""

import os

HOST, PORT = (os.environ.pop(name, "").strip() for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"))
