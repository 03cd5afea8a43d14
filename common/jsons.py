"""JSON as it comes from outside: a file, a request, a database."""

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object whose fields nobody has checked yet: whoever reads one checks it, or knows who wrote it."""
