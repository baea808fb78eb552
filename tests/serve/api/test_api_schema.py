"""The API is what its description says: Schemathesis makes requests from it, good and bad, and looks at the answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from api_samples import Served, operations_described, serving, settings_of
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

# What cannot be sent wrong, for nothing is to be sent, is asked rightly only.
ASKED = [
    pytest.param(o["operationId"], mode, id=f"{o['operationId']}-{mode.value}")
    for _, _, o in operations_described()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or o.get("parameters") or "requestBody" in o
]
# A date in the future, an address that is not public, a query without a word, a cursor that is none of ours, a lower
# bound above the upper one: no schema can say what is wrong with them.
MEANT = ("check", "verdicts", "watch", "evidence")

pytestmark = pytest.mark.timeout(170)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    told = settings_of(workers=1, per_minute=1_000_000)
    with pytest.MonkeyPatch.context() as patched, serving(tmp_path_factory.mktemp("schema"), settings=told) as served:
        patched.setattr("weighup.serve.api.auth.FAILURES", 1_000_000)  # each answer is asked for with a wrong key too
        yield served


@pytest.fixture(scope="module")
def key(asked: Served) -> str:
    return asked.key("admin")


@pytest.fixture
def api(asked: Served) -> Any:
    accepted = {"positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "422"]}}
    told = {
        "request-timeout": 120,  # of a machine that has other things to do
        "operations": [{"include-operation-id": name, "checks": accepted} for name in MEANT],
    }
    return schemathesis.openapi.from_url(f"{asked.url}/openapi.json", config=SchemathesisConfig.from_dict(told))


@pytest.mark.parametrize(("name", "mode"), ASKED)
def test_every_answer_is_as_described(api: Any, key: str, name: str, mode: GenerationMode) -> None:
    operation = api.find_operation_by_id(name)

    @settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"})

    ask()
