import multiprocessing

import pytest

from modelloop.registry import versions
from modelloop.registry.store import connect
from modelloop.registry.versions import RegistryError


@pytest.fixture
def client(store, tmp_path):
    """A registry with versions 1 and 2; 1 is the challenger."""
    client = connect(store)
    client.create_registered_model(store.slug)
    for _ in range(2):
        client.create_model_version(store.slug, source=tmp_path.as_uri())
    client.set_registered_model_alias(store.slug, "challenger", "1")
    return client


def aliases(client) -> dict[str, str]:
    (found,) = client.search_registered_models()
    return {alias: str(version) for alias, version in found.aliases.items()}


def challenge(client, version: str) -> None:
    (found,) = client.search_registered_models()
    client.set_registered_model_alias(found.name, "challenger", version)


def test_the_first_release_has_no_previous_version(store, client):
    assert versions.promote(store) == ("1", None)
    assert aliases(client) == {"challenger": "1", "champion": "1"}


def test_promote_keeps_the_former_champion(store, client):
    versions.promote(store)
    challenge(client, "2")
    assert versions.promote(store) == ("2", "1")
    assert aliases(client) == {"challenger": "2", "champion": "2", "previous": "1"}


def test_promote_twice_is_refused_and_loses_nothing(store, client):
    versions.promote(store)
    challenge(client, "2")
    versions.promote(store)
    with pytest.raises(RegistryError, match="version 2 is @champion already"):
        versions.promote(store)
    assert aliases(client)["previous"] == "1"


def test_rollback_moves_back_once(store, client):
    versions.promote(store)
    challenge(client, "2")
    versions.promote(store)
    assert versions.rollback(store) == ("1", "2")
    assert aliases(client) == {"challenger": "2", "champion": "1"}
    with pytest.raises(RegistryError, match="no @previous version"):
        versions.rollback(store)


def test_a_version_that_was_rolled_back_is_not_promoted_again(store, client):
    versions.promote(store)
    challenge(client, "2")
    versions.promote(store)
    versions.rollback(store)
    with pytest.raises(RegistryError, match="version 2 was rolled back"):
        versions.promote(store)


def test_nothing_to_move_is_refused(store):
    connect(store)
    with pytest.raises(RegistryError, match="no @challenger"):
        versions.promote(store)
    with pytest.raises(RegistryError, match="no @previous"):
        versions.rollback(store)
    with pytest.raises(RegistryError, match="no @champion version"):
        versions.fetch(store, "champion", store.settings.model_dir)


def _promote(store, barrier, results) -> None:
    barrier.wait(30)
    try:
        results.put(versions.promote(store))
    except RegistryError as error:
        results.put(str(error))


@pytest.mark.slow
def test_of_two_callers_at_once_one_moves_and_no_alias_is_lost(store, client):
    versions.promote(store)
    challenge(client, "2")
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    callers = [context.Process(target=_promote, args=(store, barrier, results)) for _ in range(2)]
    for caller in callers:
        caller.start()
    answers = [results.get(timeout=120) for _ in callers]
    for caller in callers:
        caller.join(30)
    assert ("2", "1") in answers
    assert any("already" in answer for answer in answers if isinstance(answer, str))
    assert aliases(client) == {"challenger": "2", "champion": "2", "previous": "1"}


def test_the_champion_follows_what_is_served(store, client):
    assert versions.follow(store, "1", "")
    assert versions.follow(store, "2", "")
    assert aliases(client) == {"challenger": "1", "champion": "2", "previous": "1"}
    assert not versions.follow(store, "2", "")


def test_the_champion_follows_a_rollback(store, client):
    versions.follow(store, "1", "")
    versions.follow(store, "2", "")
    assert versions.follow(store, "1", "2")
    assert aliases(client) == {"challenger": "1", "champion": "1"}
    assert client.get_model_version(store.slug, "2").tags == {"rolled_back": "true"}
    assert not versions.follow(store, "1", "2")
