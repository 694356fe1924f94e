"""The server, as it runs in its own environment: it answers what training recorded."""

import numpy as np
from modelloop.serving import client
from prometheus_client.parser import text_string_to_metric_families


def test_the_golden_rows_are_answered_as_training_recorded_them(server, contract):
    answer = server.predict(client.golden(contract)).json
    expected = [row.outputs for row in contract.golden]
    assert answer["data"]["names"] == contract.output_names
    np.testing.assert_allclose(answer["data"]["ndarray"], expected, rtol=1e-5, atol=1e-5)


def test_an_answer_says_which_model_gave_it_and_when(server, contract):
    tags = server.predict(client.example(contract)).json["meta"]["tags"]
    assert tags["model_name"] == contract.name
    assert tags["model_version"] == contract.version
    assert tags["answered_at"] > 0
    assert ("prediction" in tags) == bool(contract.classes)


def test_a_row_that_the_contract_does_not_allow_is_refused(server, contract):
    request = client.example(contract)
    request["data"]["ndarray"][0] = [["a list"] for _ in contract.features]
    refused = server.predict(request)
    assert refused.status == 422
    assert contract.features[0].name in refused.json["status"]["info"]


def test_feedback_is_counted(server, contract):
    answer = server.predict(client.example(contract)).json
    truth = contract.classes[0] if contract.classes else contract.golden[0].outputs[0]
    message = {"response": answer, "truth": {"data": {"ndarray": [[truth]]}}}
    assert client.feedback(f"http://127.0.0.1:{server.port}", message) == client.COUNTED


def test_prometheus_reads_the_metrics_of_the_server_and_of_the_team(server, contract):
    server.predict(client.golden(contract))
    page = server.call("GET", "/metrics", port=server.metrics_port).text
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.labels.get("model_name") == contract.name
    }
    assert values["model_rows_total"] >= len(contract.golden)
    # The example in metrics.py; remove it with the example.
    assert values["incomplete_rows_total"] >= any(
        None in row.inputs.values() for row in contract.golden
    )
