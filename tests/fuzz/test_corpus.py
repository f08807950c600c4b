"""No parser does anything but what it says, for all inputs that were ever found worth keeping."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest

from tests.fuzz.minimising import worth_keeping
from tests.fuzz.places import HERE, KEPT_BYTES, KEPT_FILES, corpus_of, kept_inputs, regressions_of
from tests.fuzz.target import Page, Target, edited_json
from tests.fuzz.targets import BY_NAME, TARGETS, folder_name
from tests.fuzz.trial import Broken, TooSlow, attempt, watched

each_target = pytest.mark.parametrize("target", TARGETS, ids=folder_name)


@pytest.fixture(autouse=True)
def in_time():
    with watched():
        yield


@each_target
def test_every_kept_input_is_taken_or_refused(target: Target):
    for where, data in kept_inputs(target).items():
        try:
            attempt(target, data, slower=4.0)  # a runner of CI may be slow
        except Broken as broken:
            pytest.fail(f"{where}: {broken}")


@each_target
def test_a_search_begins_with_what_the_target_takes(target: Target):
    assert target.seeds
    assert any(attempt(target, seed, slower=4.0) for seed in target.seeds) == target.takes_seeds
    assert all(len(seed) <= target.max_bytes for seed in target.seeds)


@each_target
def test_the_corpus_stays_small(target: Target):
    folder = corpus_of(target)
    files = list(folder.iterdir()) if folder.is_dir() else []
    assert sum(file.stat().st_size for file in files) <= KEPT_BYTES
    assert len(files) <= KEPT_FILES


def test_no_input_is_kept_for_a_target_that_is_gone():
    folders = {path.name for kind in ("corpus", "regressions") for path in (HERE / kind).glob("*")}
    assert folders <= {folder_name(target) for target in TARGETS}


def test_an_input_that_broke_something_says_what_by_its_name():
    for target in TARGETS:
        folder = regressions_of(target)
        for path in folder.iterdir() if folder.is_dir() else ():
            assert "-" in path.name, path


def test_names_of_targets_are_different():
    assert len(BY_NAME) == len({folder_name(target) for target in TARGETS}) == len(TARGETS)


def a_target(run, *refusals: type[Exception], limit_s: float = 0.5) -> Target:
    return Target("a target", run, refusals, limit_s=limit_s)


def test_what_a_parser_does_not_say_is_found():
    def run(data: bytes) -> None:
        raise KeyError(data)

    assert not attempt(a_target(run, KeyError), b"x")
    with pytest.raises(Broken, match=r"a target: KeyError.*b'x'") as broken:
        attempt(a_target(run, ValueError), b"x")
    assert broken.value.place.startswith("KeyError at test_corpus.py:")


def test_what_takes_too_long_is_found_whatever_the_parser_catches():
    def run(_: bytes) -> None:
        while True:
            with suppress(Exception):  # a parser that is too patient
                sum(range(1000))

    with pytest.raises(Broken, match="takes too long") as broken:
        attempt(a_target(run, Exception, limit_s=0.02), b"")
    assert isinstance(broken.value.cause, TooSlow)


def test_an_edited_message_is_nearly_the_example_and_always_json():
    examples = [{"a": {"b": [1, 2]}, "c": "d"}]
    assert edited_json(examples, (), b"") == b'{"a": {"b": [1, 2]}, "c": "d"}'
    changed = {
        edited_json(examples, ("w",), bytes([0, *more])) for more in ([1, 0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 5, 200])
    }
    assert len(changed) > 1


def test_of_inputs_that_lead_to_the_same_place_the_shortest_is_kept():
    target = BY_NAME["budget"]
    kept = worth_keeping(target, [b"p50<400ms", b"p5<1s", b"p51<401ms", b"nonsense", b"x"], ())
    assert kept == [b"x", b"p5<1s", b"p50<400ms"] or kept == [b"x", b"p5<1s"]


@pytest.fixture(scope="module", autouse=True)
def no_pages_left():
    yield
    from tests.fuzz import of_doors, of_recordings, of_settings  # noqa: PLC0415

    for module in (of_doors, of_recordings, of_settings):
        for page in vars(module).values():
            if isinstance(page, Page):
                shutil.rmtree(page.path.parent, ignore_errors=True)
