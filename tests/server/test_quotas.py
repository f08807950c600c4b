"""What tenants may use in an hour, counted by the node itself."""

import subprocess
import sys

import pytest

from voiceedge.config import Config
from voiceedge.errors import ConfigError, LimitReached
from voiceedge.server import quotas as quotas_module
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.quotas import LEAST_SHARE, WHAT, OwnCounts, Quotas, make_quotas
from voiceedge.server.windows import HOUR_S

SHOP = Grant(tenant="shop", subject="till-7")
BANK = Grant(tenant="bank", subject="desk-1")
HERE = "192.0.2.1"


class Hours:
    """A clock that a test moves."""

    def __init__(self):
        self.at = 5 * HOUR_S

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Hours()


@pytest.fixture
def limited(clock):
    def limited(**limits):
        return Quotas(limits, OwnCounts(clock))

    return limited


async def test_where_nothing_is_limited_there_is_no_quota():
    quotas = make_quotas(Config())
    assert quotas.of(SHOP, HERE) is None
    assert quotas.of(ANYBODY, HERE) is None


def test_without_a_store_what_talks_to_one_is_not_imported():
    code = (
        "import sys; from voiceedge.config import Config; from voiceedge.server.quotas import make_quotas; "
        "make_quotas(Config(sessions_an_hour=1)); print({'limits', 'redis'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("missing", ["limits", "redis"])
def test_a_store_without_what_talks_to_it_is_a_mistake(monkeypatch, missing):
    found = quotas_module.find_spec
    monkeypatch.setattr(quotas_module, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ConfigError, match=r"voiceedge\[redis\]"):
        make_quotas(Config(limits_store="redis://localhost"))


@pytest.mark.parametrize("what", WHAT)
async def test_what_is_used_up_is_refused_and_nothing_else_is(limited, what):
    quota = limited(**{what: 10}).of(SHOP, HERE)
    await quota.spend(what, 10)
    with pytest.raises(LimitReached, match="used up") as refused:
        await quota.spend(what, 1)
    assert (refused.value.wire_code, 1 <= refused.value.retry_after_s <= 2 * HOUR_S) == ("quota_exceeded", True)
    for other in set(WHAT) - {what}:
        await quota.spend(other, 10**9)


async def test_all_sessions_of_a_tenant_use_one_hour_and_tenants_have_one_each(limited):
    quotas = limited(messages=10)
    for _ in range(2):
        await quotas.of(SHOP, HERE).spend("messages", 5)
    with pytest.raises(LimitReached):
        await quotas.of(SHOP, "192.0.2.9").spend("messages", 1)
    await quotas.of(BANK, HERE).spend("messages", 10)


async def test_there_is_more_when_it_is_said_to_be(limited, clock):
    quota = limited(audio_seconds=100).of(SHOP, HERE)
    await quota.spend("audio_seconds", 100)
    with pytest.raises(LimitReached) as refused:
        await quota.spend("audio_seconds", 25.5)
    clock.at += refused.value.retry_after_s
    await quota.spend("audio_seconds", 25.5)


async def test_who_uses_all_at_once_does_not_get_the_rest_again_and_again(limited):
    quotas = limited(audio_seconds=100)
    await quotas.of(SHOP, HERE).spend("audio_seconds", 60)
    for _ in range(3):
        with pytest.raises(LimitReached):
            await quotas.of(SHOP, HERE).spend("audio_seconds", 300)  # has been heard: a session settles afterwards
    with pytest.raises(LimitReached):
        await quotas.of(SHOP, HERE).begin()


async def test_a_session_that_is_refused_costs_none(limited, clock):
    quotas = limited(sessions=2)
    for _ in range(2):
        await quotas.of(SHOP, HERE).begin()
    for _ in range(50):
        with pytest.raises(LimitReached):
            await quotas.of(SHOP, HERE).begin()
    clock.at += 2 * HOUR_S
    await quotas.of(SHOP, HERE).begin()


async def test_who_knocks_too_early_does_not_have_to_wait_longer_for_it(limited, clock):
    quotas = limited(sessions=2)
    for _ in range(2):
        await quotas.of(SHOP, HERE).begin()
    clock.at += 1.25 * HOUR_S  # half a session is left
    for _ in range(20):
        with pytest.raises(LimitReached):
            await quotas.of(SHOP, HERE).begin()
    clock.at += 0.25 * HOUR_S
    await quotas.of(SHOP, HERE).begin()


@pytest.mark.parametrize("what", sorted(set(WHAT) - {"sessions"}))
async def test_a_session_begins_only_where_something_is_left_of_everything(limited, what):
    quotas = limited(**{what: 1000, "sessions": 1})
    await quotas.of(SHOP, HERE).spend(what, 1000 * (1 - LEAST_SHARE / 2))
    with pytest.raises(LimitReached):
        await quotas.of(SHOP, HERE).begin()
    await quotas.of(BANK, HERE).begin()


@pytest.mark.parametrize(("node", "key", "holds"), [(10, 4, 4), (10, 40, 10), (0, 4, 4), (10, None, 10)])
async def test_a_key_may_say_less_than_the_node_and_never_more(clock, node, key, holds):
    config = Config(messages_an_hour=node)
    quotas = make_quotas(config)
    quota = quotas.of(Grant(tenant="shop", subject="s", messages_an_hour=key), HERE)
    for _ in range(holds):
        await quota.spend("messages", 1)
    with pytest.raises(LimitReached):
        await quota.spend("messages", 1)


async def test_a_narrower_key_of_a_tenant_is_judged_by_what_all_of_the_tenant_have_used(limited):
    quotas = limited(messages=100)
    narrow = Grant(tenant="shop", subject="guest", messages_an_hour=50)
    await quotas.of(SHOP, HERE).spend("messages", 50)
    with pytest.raises(LimitReached, match="The 50 messages"):
        await quotas.of(narrow, HERE).spend("messages", 1)
    await quotas.of(SHOP, HERE).spend("messages", 50)


async def test_where_no_key_is_asked_for_each_address_is_a_tenant(limited):
    quotas = limited(sessions=1)
    await quotas.of(ANYBODY, HERE).begin()
    with pytest.raises(LimitReached):
        await quotas.of(ANYBODY, HERE).begin()
    await quotas.of(ANYBODY, "2001:db8:1:2::/64").begin()


async def test_nobody_uses_the_hour_of_somebody_else_by_a_clever_name(limited):
    quotas = limited(sessions=1, messages=1)
    await quotas.of(Grant(tenant=f"address/{HERE}", subject="x"), HERE).begin()
    await quotas.of(ANYBODY, HERE).begin()
