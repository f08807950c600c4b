from contextlib import contextmanager

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.server.admin import Admin
from voiceedge.server.admission import Admission
from voiceedge.server.api_keys import ApiKeys
from voiceedge.server.app import WEB, Shown, build_app
from voiceedge.server.auth import Door
from voiceedge.server.client_secrets import ClientSecrets
from voiceedge.server.feed import Feed
from voiceedge.server.judging import read_budget
from voiceedge.server.live import Live
from voiceedge.server.socket import Sockets
from voiceedge.session.node import make_node

KEY = "a key of sixteen characters"
GUARDED = ("/trace", "/trace/events", "/metrics")


async def metrics(_):
    return PlainTextResponse("voiceedge_sessions 0")


async def about(_):
    return PlainTextResponse("{}")


@contextmanager
def serving(door):
    node = make_node(Config(), fake_engines(), 1, lambda *_: None)
    admission = Admission(1)
    admission.drain()  # so that the live view's stream ends
    sockets = Sockets(node, admission, door)
    feed = Feed(Live(read_budget(None)), lambda: sockets.sessions, admission, node, cores=1)
    shown = Shown(Admin(KEY), feed.endpoint, metrics, about)
    with TestClient(build_app(node, sockets, admission, door, shown)) as client:
        yield client
    node.compute.close()


@pytest.fixture(scope="module")
def client():
    with serving(Door(ClientSecrets(None))) as client:
        yield client


@pytest.mark.parametrize("path", GUARDED)
def test_what_is_the_operators_is_shown_to_the_operator_only(client, path):
    refused = client.get(path)
    assert (refused.status_code, "www-authenticate" in refused.headers) == (401, True)
    assert client.get(path, headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
    assert client.get(path, auth=("operator", KEY)).status_code == 200


def test_what_the_node_is_may_be_known_by_everybody_and_so_by_those_who_may_not_connect(tmp_path):
    keys = tmp_path / "keys.toml"
    keys.write_text("", "utf-8")
    with serving(Door(ClientSecrets(None), api_keys=ApiKeys(keys))) as client:
        assert client.post("/v1/realtime/client_secrets").status_code == 401
        assert client.get("/v1/node").status_code == 200


@pytest.mark.parametrize("path", ["/", "/trace", "/web/trace.js", "/web/waterfall.js"])
def test_pages_load_nothing_from_elsewhere_and_run_no_script_of_their_own(client, path):
    answer = client.get(path, auth=("operator", KEY))
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; connect-src 'self'" in policy
    assert answer.headers["cache-control"] == "no-cache"
    assert "<script>" not in answer.text


def test_the_page_leads_to_the_live_view_and_back(client):
    assert 'href="trace"' in client.get("/").text
    assert 'href="./"' in (WEB / "trace.html").read_text("utf-8")
