"""Errors that others find on the API's paths, in its form."""

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from api.errors import Formed
from ui.middleware import Rooted


async def broken(request: Request) -> Response:
    raise KeyError("secret")


async def asleep(request: Request) -> Response:
    return JSONResponse({"detail": "It sleeps."}, 503, {"retry-after": "2"})


async def breaking(request: Request) -> Response:
    async def pieces():
        yield "a piece"
        raise KeyError("secret")

    return StreamingResponse(pieces())


@pytest.fixture(scope="module", params=["", "/lab"])
def client(request) -> TestClient:
    routes = [
        Route(f"{below}/v1/{end.__name__}", end)
        for below in ("", "/models/tiny")
        for end in (broken, asleep, breaking)
    ]
    app = FastAPI(routes=routes, middleware=[Middleware(Rooted), Middleware(Formed)])
    return TestClient(app, raise_server_exceptions=False, root_path=request.param)


@pytest.mark.parametrize("below", ["", "/models/tiny"])
def test_every_error_is_in_openais_form(client, below):
    for method, path, status, kind, says in (
        ("GET", "", 404, "invalid_request_error", f"There is no endpoint '{below}/v1': ask "),
        ("GET", "/nothing", 404, "invalid_request_error", f"There is no endpoint '{below}/v1/nothing': ask "),
        (
            "POST",
            "/asleep",
            405,
            "invalid_request_error",
            f"Method is 'POST': {below}/v1/asleep takes GET, HEAD.",
        ),
        ("GET", "/asleep", 503, "server_error", "It sleeps."),
        ("GET", "/broken", 500, "server_error", "The answer failed by a fault of the app (KeyError), which"),
    ):
        answer = client.request(method, f"{below}/v1{path}")
        error = answer.json()["error"]
        assert answer.status_code == status and error["message"].startswith(says)
        assert error == {"message": error["message"], "type": kind, "param": None, "code": None}
        assert int(answer.headers["content-length"]) == len(answer.content)
    assert client.get(f"{below}/v1/asleep").headers["retry-after"] == "2"


def test_what_has_begun_is_not_begun_again(client):
    assert client.get("/v1/breaking").text == "a piece"


@pytest.mark.parametrize("path", ["/v2", "/v1x", "/models/v1", "/a/v1"])
def test_other_paths_keep_their_form(client, path):
    assert client.get(path).json() == {"detail": "Not Found"}
