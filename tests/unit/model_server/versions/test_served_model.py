"""Versions come and go: policies, retries, broken folders, and who is still inside. No engine, no clock, no waiting."""

import os
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.model_server.engines.base import LoadError
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.repository import ModelRepository
from services.model_server.versions.servable import Servable
from services.model_server.versions.served_model import RetryPolicy
from services.model_server.versions.storage import fingerprint
from services.pb import tfserving_pb2 as pb

State = pb.ModelVersionStatus.State
NAME = "m"


class World:
    """A folder of versions, a loader that fails on those marked broken, and a clock that moves when told."""

    def __init__(self, base, **options):
        self.base = base
        self.now = 0.0
        self.loads = []
        retry = RetryPolicy(max_retries=2, interval_s=60)
        self.models = ModelRepository(self._load, retry=retry, clock=lambda: self.now, **options)

    def _load(self, name, version, path):
        self.loads.append(version)
        if (path / "broken").exists():
            raise LoadError(f"version {version} is broken")
        return Servable(name, version, path, SimpleNamespace(name="toy", definitions={}))

    def add(self, version, *, broken=False):
        folder = self.base / str(version)
        folder.mkdir()
        if broken:
            (folder / "broken").touch()

    def remove(self, version):
        shutil.rmtree(self.base / str(version))

    def apply(self, policy=None, labels=None):
        self.models.apply(self.config(policy, labels))

    def config(self, policy=None, labels=None):
        entry = pb.ModelConfig(
            name=NAME, base_path=str(self.base), model_platform="tensorflow", model_version_policy=policy
        )
        entry.version_labels.update(labels or {})
        return pb.ModelServerConfig(model_config_list=pb.ModelConfigList(config=[entry]))

    def look(self):
        self.models.reconcile(scan=True)

    def states(self):
        return {s.version: State.Name(s.state) for s in self.models.statuses(pb.ModelSpec(name=NAME))}

    def error(self, version):
        spec = pb.ModelSpec(name=NAME)
        spec.version.value = version
        return self.models.statuses(spec)[0].status.error_message

    def serving(self):
        return self.models.models()[0].available

    def acquire(self, version=None, label=None):
        spec = pb.ModelSpec(name=NAME)
        if version is not None:
            spec.version.value = version
        if label is not None:
            spec.version_label = label
        return self.models.acquire(spec)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


ALL = pb.ServableVersionPolicy(all=pb.ServableVersionPolicy.All())


def latest(count):
    return pb.ServableVersionPolicy(latest=pb.ServableVersionPolicy.Latest(num_versions=count))


def specific(*versions):
    return pb.ServableVersionPolicy(specific=pb.ServableVersionPolicy.Specific(versions=versions))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, [12]),
        (latest(0), [12]),
        (latest(2), [3, 12]),
        (latest(9), [1, 3, 12]),
        (ALL, [1, 3, 12]),
        (specific(3, 1), [1, 3]),
    ],
)
def test_a_policy_picks_versions(world, policy, expected):
    for version in (1, 3, 12):
        world.add(version)

    world.apply(policy)

    assert world.serving() == expected


def test_only_whole_numbers_are_versions(world):
    world.add(2)
    for name in (".tmp-3", "v4", "5.bak", "-6", "٧", "notes"):
        (world.base / name).mkdir()
    (world.base / "8").write_text("a file")

    world.apply(ALL)

    assert world.serving() == [2]


def test_a_new_version_takes_over_and_the_old_one_ends(world):
    world.add(1)
    world.apply()
    world.add(2)

    world.look()

    assert world.states() == {1: "END", 2: "AVAILABLE"}
    assert world.error(1) == ""
    assert world.acquire().version == 2


def test_an_old_version_stays_until_its_last_request_is_done(world):
    world.add(1)
    world.apply()
    in_use = world.acquire()
    world.add(2)
    world.look()

    assert world.states() == {1: "UNLOADING", 2: "AVAILABLE"}
    in_use.leave()
    assert world.states() == {1: "END", 2: "AVAILABLE"}


def test_a_broken_version_never_replaces_a_good_one(world):
    world.add(1)
    world.apply()
    world.add(2, broken=True)

    world.look()

    assert world.acquire().version == 1
    assert world.states() == {1: "AVAILABLE", 2: "LOADING"}
    assert world.error(2) == "version 2 is broken"


def test_a_failed_load_is_retried_after_its_interval_and_then_given_up(world):
    world.add(1)
    world.apply()
    world.add(2, broken=True)
    attempts = []
    for now in (0, 30, 60, 120, 180, 1000):
        world.now = now
        world.look()
        attempts.append(world.loads.count(2))

    assert attempts == [1, 1, 2, 3, 3, 3]
    assert world.states() == {1: "AVAILABLE", 2: "END"}
    assert world.error(2) == "version 2 is broken"


def give_up_a_second(world):
    """Version 1 is served, a broken one beside it has had all its attempts."""
    world.add(1)
    world.apply()
    world.add(2, broken=True)
    for now in (0, 60, 120, 180):
        world.now = now
        world.look()


def test_a_version_that_was_given_up_is_tried_again_when_its_files_change(world):
    """A copy that was still under way is not a broken model."""
    give_up_a_second(world)

    (world.base / "2" / "broken").unlink()
    world.look()

    assert world.states() == {1: "END", 2: "AVAILABLE"}


def test_a_version_whose_files_change_gets_all_its_attempts_again(world):
    give_up_a_second(world)
    assert world.states()[2] == "END"

    (world.base / "2" / "half a file").touch()
    world.look()

    assert world.states()[2] == "LOADING"
    assert world.loads.count(2) == 4


def test_a_restart_beside_a_broken_newest_version_serves_the_one_before(world):
    world.add(1)
    world.add(2)
    world.add(3, broken=True)

    world.apply()

    assert world.acquire().version == 2
    assert world.states() == {2: "AVAILABLE", 3: "LOADING"}


def test_a_specific_version_is_not_replaced_by_another(world):
    world.add(1)
    world.add(2, broken=True)

    world.apply(specific(2))

    with pytest.raises(StatusError, match=r"Servable not found for request: Latest\(m\)"):
        world.acquire()


def test_a_base_path_that_goes_away_costs_nothing(world):
    world.add(1)
    world.apply()
    (world.base / "1").rename(world.base.parent / "elsewhere")
    world.base.rename(world.base.parent / "gone")

    world.look()

    assert world.serving() == [1]


def test_versions_deleted_from_disk_are_unloaded(world):
    world.add(1)
    world.apply()
    (world.base / "1").rmdir()

    world.look()

    assert world.states() == {1: "END"}


def test_rolling_back_loads_the_older_version_again(world):
    world.add(1)
    world.add(2)
    world.apply()

    world.apply(specific(1))

    assert world.states() == {1: "AVAILABLE", 2: "END"}


def test_a_version_given_another_folder_is_loaded_from_there(world, tmp_path):
    world.add(1)
    world.apply()
    world.base = tmp_path / "other"
    world.base.mkdir()
    world.add(1)

    world.apply()

    assert world.acquire().path == tmp_path / "other" / "1"


# ---- labels


def test_a_label_names_a_version(world):
    world.add(1)
    world.add(2)

    world.apply(ALL, {"stable": 1, "canary": 2})

    assert world.acquire(label="stable").version == 1
    assert world.acquire(label="canary").version == 2


def test_a_label_for_a_version_that_is_not_loaded_is_refused_and_changes_nothing(world):
    world.add(1)
    world.apply(None, {"stable": 1})
    world.add(2)

    with pytest.raises(StatusError) as caught:
        world.apply(None, {"stable": 2})

    assert caught.value.code == Code.FAILED_PRECONDITION
    assert world.acquire(label="stable").version == 1


def test_an_unused_label_may_point_ahead_when_allowed_but_a_used_one_may_not_move(tmp_path):
    world = World(tmp_path, allow_labels_for_unavailable=True)
    world.add(1)
    world.apply(None, {"next": 2})

    world.apply(None, {"next": 2, "later": 3})

    with pytest.raises(StatusError, match="not currently available"):
        world.apply(None, {"next": 9})
    with pytest.raises(StatusError, match=r"Specific\(m, 2\)"):
        world.acquire(label="next")


# ---- configuration


def test_a_model_taken_out_of_the_configuration_ends_but_is_remembered(world):
    world.add(1)
    world.apply()

    world.models.apply(pb.ModelServerConfig(model_config_list=pb.ModelConfigList()))

    assert world.states() == {1: "END"}
    with pytest.raises(StatusError, match=r"Latest\(m\)"):
        world.acquire()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_path": "relative"}, "to have an absolute path"),
        ({"model_platform": ""}, "Illegal setting neither"),
        ({"model_platform": "pytorch"}, "no entry for platform pytorch"),
        ({"model_type": pb.ModelConfig.TENSORFLOW}, "Illegal setting both"),
    ],
)
def test_a_configuration_that_cannot_be_served_is_refused(world, fields, message):
    config = world.config()
    for name, value in fields.items():
        setattr(config.model_config_list.config[0], name, value)

    with pytest.raises(StatusError, match=message):
        world.models.apply(config)


def test_a_model_listed_twice_is_refused(world):
    config = world.config()
    config.model_config_list.config.append(config.model_config_list.config[0])

    with pytest.raises(StatusError, match="Illegal to list model m multiple times"):
        world.models.apply(config)


def test_version_zero_means_the_latest_unless_there_is_one(world):
    world.add(7)
    world.apply(ALL)
    assert world.acquire(version=0).version == 7

    world.add(0)
    world.look()

    assert world.acquire(version=0).version == 0


def test_listeners_hear_of_every_look(world):
    heard = []
    world.models.on_change(lambda: heard.append(world.models.availability()))
    world.add(1)

    world.apply()

    assert heard == [{NAME: True}]


def test_a_failed_version_that_is_deleted_is_not_due_again(world):
    """Issue 15.9: it counted as due for ever, and the watcher spun."""
    world.add(1)
    world.apply()
    world.add(2, broken=True)
    world.look()
    assert world.models.next_retry_at() == 60

    world.remove(2)
    world.look()

    assert world.models.next_retry_at() is None
    assert world.states() == {1: "AVAILABLE", 2: "END"}
    assert world.error(2) == "version 2 is broken"


def test_a_failed_version_that_is_superseded_is_not_due_again_until_it_is_wanted(world):
    world.add(1)
    world.apply()
    world.add(2, broken=True)
    world.look()
    world.add(3)
    world.look()
    assert world.models.next_retry_at() is None

    world.remove(3)
    world.look()

    assert world.loads == [1, 2, 3, 2]
    assert world.models.next_retry_at() == 60


def test_files_that_go_while_a_version_is_looked_at_are_left_out(tmp_path, monkeypatch):
    """Issue 15.9: rglob met a file that was gone, and the thread that watches ended."""
    for name in ("a", "b", "c"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").touch()
    scandir = os.scandir

    def moving(path):
        if (tmp_path / "b").exists() and Path(path) != tmp_path:
            (tmp_path / "b").rename(tmp_path.with_name("away"))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", moving)
    names = [Path(name).relative_to(tmp_path).parts[0] for name, _, _ in fingerprint(tmp_path)]

    assert names == ["a", "c"]
    assert fingerprint(tmp_path / "gone") == ()


def test_a_specific_version_that_is_absent_is_named(world):
    """A reload said "due to error: }"."""
    world.add(1)
    world.apply(specific(7))

    with pytest.raises(StatusError, match=r"asks for \(7\) found under base path .*: there is 1\}"):
        world.models.require_available()


def test_a_poll_of_the_file_does_not_come_between_a_reload_and_its_answer(world, monkeypatch):
    """It would be refused for a model that the file has brought in the meantime."""
    world.add(1)
    poll = threading.Thread(target=world.apply, args=[specific(7)])
    require_available = world.models.require_available

    def after_the_poll():
        poll.start()
        poll.join(0.3)  # it has all the time it needs
        require_available()

    monkeypatch.setattr(world.models, "require_available", after_the_poll)
    world.models.reload(world.config())
    poll.join()

    with pytest.raises(StatusError):
        require_available()
