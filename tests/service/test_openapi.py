"""The committed document is the code's, it is valid, and the client has all that it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from tao_like.service import client, responses
from tao_like.service.openapi import document

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    return document()


def test_the_committed_document_is_the_codes(made: dict[str, Any]) -> None:
    committed = json.loads(FILE.read_text(encoding="utf-8"))
    assert committed == made, "python -m tao_like.service.openapi > docs/openapi.json"


def test_it_is_valid(made: dict[str, Any]) -> None:
    validate(made)


def test_every_operation_is_described_and_the_client_has_it(made: dict[str, Any]) -> None:
    operations = [operation for path in made["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) > 20
    for operation in operations:
        assert operation["summary"]
        assert operation["tags"]
        assert callable(getattr(client.Client, operation["operationId"]))


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ("JobOut", responses.Job),
        ("DatasetOut", responses.Dataset),
        ("ModelOut", responses.Model),
        ("PredictionOut", responses.Prediction),
    ],
)
def test_the_clients_types_have_the_documents_fields(made: dict[str, Any], schema: str, kind: Any) -> None:
    assert set(kind.__annotations__) == set(made["components"]["schemas"][schema]["properties"])
