"""The document before its scripts, and paths behind a proxy, without a browser."""

import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient

from ui.document import WEB, Document
from ui.middleware import Rooted

GRADIO = """<html><head><meta property="og:title" content="Gradio" />
<meta
  property="og:image"
  content="https://elsewhere/picture.jpg"
/><meta name="twitter:creator" content="@Gradio" /><link rel="manifest" href="/manifest.json" /></head>
<body class="x"><script>1</script></body></html>"""


def client(root: str = "") -> TestClient:
    async def main(request):
        return HTMLResponse(GRADIO)

    async def other(request):
        return PlainTextResponse(request.url.path)

    routes = [Route("/", main), Route("/other", other), Mount("/tw", StaticFiles(directory=WEB))]
    app = Starlette(routes=routes, middleware=[Middleware(Rooted), Middleware(Document)])
    return TestClient(app, root_path=root, base_url="http://lab.example")


@pytest.mark.parametrize(
    ("root", "forwarded", "address"),
    [
        ("", {}, "http://lab.example"),
        ("/lab", {}, "http://lab.example/lab"),
        (
            "/a/b",
            {"x-forwarded-proto": "https", "x-forwarded-host": "out.example"},
            "https://out.example/a/b",
        ),
        ("https://out.example/lab", {"x-forwarded-proto": "https,http"}, "https://lab.example/lab"),
        ("", {"x-forwarded-host": '"><script>'}, "http://&quot;&gt;&lt;script&gt;"),
    ],
)
def test_a_link_to_the_page_shows_the_page(root, forwarded, address):
    html = client(root).get("/", headers=forwarded).text
    cards = dict(re.findall(r'<meta property="(og:\w+)" content="([^"]*)"', html))
    assert cards["og:title"] == "Tradewind" and cards["og:description"]
    assert cards["og:url"] == f"{address}/" and cards["og:image"] == f"{address}/preview.png"
    assert "Gradio" not in html and "elsewhere" not in html and "manifest" not in html
    assert html.index("</head>") < html.index("tw-skeleton") < html.index("<script>1")


@pytest.mark.parametrize("root", ["", "/lab", "/a/b/", "https://out.example/lab"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_proxy_may_keep_the_prefix_or_take_it_away(root, kept):
    prefix = re.sub("https://[^/]*", "", root).rstrip("/") if kept else ""
    ours = client(root)
    assert ours.get(f"{prefix}/").text.count("tw-skeleton")
    assert ours.get(f"{prefix}/other").status_code == 200
    assert ours.get(f"{prefix}/tw/shared/dom.js").status_code == 200
    assert ours.get(f"{prefix}/tw/shared/none.js").status_code == 404


def test_what_is_not_the_page_stays_as_it_is():
    assert client().get("/other").text == "/other"
