"""Under `dagster dev`, over GraphQL and in a browser; ended by its own process."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from synth_ops.testing.warehouses import CANARIES

pytestmark = pytest.mark.long
LAUNCH = """
mutation($selector: JobOrPipelineSelector!, $config: RunConfigData) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
RELOAD = 'mutation { reloadRepositoryLocation(repositoryLocationName: "definitions.py") { __typename } }'
STATUS = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
ASSET = """
query($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      groupName staleStatus kinds owners { ... on TeamAssetOwner { team } }
      assetMaterializations(limit: 1) {
        metadataEntries {
          label ... on FloatMetadataEntry { floatValue } ... on IntMetadataEntry { intValue }
          ... on UrlMetadataEntry { url } ... on MarkdownMetadataEntry { mdStr } ... on TextMetadataEntry { text }
          ... on TableColumnLineageMetadataEntry { lineage { columnName columnDeps { assetKey { path } columnName } } }
          ... on TableSchemaMetadataEntry { schema { columns { name type } } }
        }
      }
      assetChecksOrError {
        ... on AssetChecks { checks {
          name blocking executionForLatestMaterialization { status evaluation { success severity } }
        } }
      }
    }
  }
}
"""


def test_dagster_launches_checks_and_shows(refresh, tmp_path, repository, web, browser):
    night = refresh()
    home, port = tmp_path / "dagster", web.free_port()
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "SYNTH_OPS_RECIPE": str(night.file),
        "SYNTH_OPS_STORE": str(night.store),
    }
    file = str(repository / "assets" / "definitions.py")
    command = [sys.executable, "-m", "dagster", "dev", "-f", file, "-h", "127.0.0.1", "-p", str(port)]
    api = web.Api(f"http://127.0.0.1:{port}")

    def ask(query: str, **variables: Any) -> Any:
        return api("/graphql", {"query": query, "variables": variables})["data"]

    with web.server(command, tmp_path / "dagster.log", environment):
        api.wait(lambda: api("/server_info"))
        selector = {
            "repositoryName": "__repository__",
            "repositoryLocationName": "definitions.py",
            "pipelineName": "refresh_test_database",
        }
        config = {"execution": {"config": {"in_process": {}}}}
        launched = api.wait(
            lambda: (found := ask(LAUNCH, selector=selector, config=config)["launchRun"]).get("run") and found
        )
        run = launched["run"]["runId"]
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        status = api.wait(lambda: (state := ask(STATUS, id=run)["runOrError"]["status"]) in ended and state)
        assert status == "SUCCESS"
        assert night.generations() == night.artifacts()["copy"]

        report = ask(ASSET, key={"path": ["test_database", "synth_ops", "report"]})["assetNodeOrError"]
        assert report["owners"] == [{"team": "test-data"}]
        shown = {entry["label"]: entry for entry in report["assetMaterializations"][0]["metadataEntries"]}
        assert shown["fidelity.mean_column_distance"]["floatValue"] >= 0
        assert shown["report"]["url"].endswith("report.html")
        assert "passed its gate" in shown["summary"]["mdStr"]
        checks = {check["name"]: check for check in report["assetChecksOrError"]["checks"]}
        assert all(check["blocking"] for check in checks.values())
        assert checks["gate"]["executionForLatestMaterialization"]["evaluation"] == {
            "success": True,
            "severity": "ERROR",
        }
        publication = ask(ASSET, key={"path": ["test_database", "synth_ops", "publication"]})["assetNodeOrError"]
        shown = {entry["label"]: entry for entry in publication["assetMaterializations"][0]["metadataEntries"]}
        assert shown["generation"]["intValue"] == 1
        assert (report["staleStatus"], publication["staleStatus"]) == ("FRESH", "FRESH")  # nothing to be refitted
        assert publication["kinds"] == ["synth_ops"]
        ask(RELOAD)  # which is when tables become assets that nobody knew of before the first night
        table = ask(ASSET, key={"path": ["test_database", "customers"]})["assetNodeOrError"]
        shown = {entry["label"]: entry for entry in table["assetMaterializations"][0]["metadataEntries"]}
        lineage = {each["columnName"]: each for each in shown["dagster/column_lineage"]["lineage"]}
        assert lineage["email"]["columnDeps"] == [
            {"assetKey": {"path": ["test_database", "source", "customers"]}, "columnName": "email"}
        ]
        is_shown(api, browser.new_page(), tmp_path)
    assert web.leaks(CANARIES, home, api.heard) == []


def is_shown(api: Any, page: Any, folder: Path) -> None:
    """What people see: scores and the summary, each check; a table's rows and columns."""
    page.goto(f"{api.url}/assets")
    page.get_by_role("button", name="Skip").click()  # of the letter that Dagster would like to send
    report = "/assets/test_database/synth_ops/report"
    seen = (
        "passed",
        "summary",
        "fidelity.mean_column_distance",
        "privacy.dcr_share",
        "test-data",
        "refresh_test_database",
    )
    api.shows(page, report, *seen, shot=folder / "report.png")
    api.shows(page, f"{report}?view=checks", "This is a blocking asset check", shot=folder / "checks.png")
    shown = page.inner_text("body")
    assert all(f"{name}\nSucceeded" in shown for name in ("gate", "integrity", "fidelity"))
    table = ("Row count", "150", "customer_id", "non-nullable", "unique", "Synthetic copy of customers.")
    api.shows(page, "/assets/test_database/customers", *table, shot=folder / "table.png")
    api.shows(page, "/assets/test_database/customers?view=lineage", "report", "Passed", shot=folder / "graph.png")
