"""What a model's status says: versions that are available, and that answer as the model does."""

import asyncio
from collections.abc import Callable

import pytest

from services.core.errors import ModelError, ModelResponseError, ModelTimeoutError
from services.gateway.api.readiness import Known, ModelStatus
from services.gateway.metrics import Metrics
from services.gateway.models.remote import VersionStatus
from services.gateway.models.transport import CallContext
from tests.support.fakes import FakeModel

WRONG = ModelResponseError("denoiser answered probabilities where denoised was expected")


class Checked(FakeModel):
    """A model whose checks end as is said, by label."""

    def __init__(self, **outcomes: ModelError) -> None:
        super().__init__(lambda images: images, name="denoiser")
        self.outcomes = outcomes
        self.labels: list[str] = []
        self.versions = [VersionStatus(1, "AVAILABLE")]

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        return self.versions

    async def check(self, *, call: CallContext) -> None:
        self.labels.append(call.label)
        if call.label in self.outcomes:
            raise self.outcomes[call.label]


def known(model: Checked, *labels: str, then: Callable[[], None] = lambda: None) -> list[Known]:
    """What is known before and after `then`."""

    async def ask() -> list[Known]:
        status = ModelStatus("denoiser", model, cache_s=0, metrics=Metrics(), labels=labels or ("",))
        found = [await status.known(within_s=5) for _ in range(2)]
        then()
        found.append(await status.known(within_s=5))
        status.close()
        return found[1:]

    return asyncio.run(ask())


def test_a_version_is_checked_once():
    model = Checked()
    before, after = known(model, then=lambda: model.versions.insert(0, VersionStatus(2, "AVAILABLE")))

    assert (before.versions, after.versions) == (("1",), ("2", "1"))
    assert model.labels == ["", ""]


def test_a_version_that_answers_something_else_is_not_available_until_it_has_gone():
    """Issue 15.12: a classifier under denoiser/7 was 502 for every request, and ready."""
    model = Checked()
    model.outcomes[""] = WRONG
    before, after = known(model, then=model.outcomes.clear)

    assert (before.versions, before.error) == ((), WRONG)
    assert (after.versions, after.error) == (("1",), None)


def test_of_a_split_one_label_that_answers_is_enough():
    [fine, _] = known(Checked(canary=WRONG), "stable", "canary")
    [wrong, _] = known(Checked(stable=WRONG, canary=WRONG), "stable", "canary")

    assert (fine.versions, wrong.versions) == (("1",), ())


@pytest.mark.parametrize("failure", [ModelTimeoutError("denoiser did not answer in 1.0 s")])
def test_a_check_without_an_answer_says_nothing_and_is_repeated(failure):
    model = Checked()
    model.outcomes[""] = failure
    before, after = known(model, then=model.outcomes.clear)

    assert before.versions == after.versions == ("1",)
    assert len(model.labels) == 3
