"""The base of a repository's class with Seldon's methods.

`rest.py` calls the methods for HTTP, `rpc.py` for gRPC. Another protocol would be another module
like this one: the predictor depends on none.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from modelloop.contract.contract import Column, Contract
from modelloop.serving import payload
from modelloop.serving.metrics import Metrics
from modelloop.serving.payload import Request
from modelloop.serving.predictor import Prediction, Predictor, Refusal
from modelloop.serving.request_log import RequestLog

logger = logging.getLogger(__name__)

Message = Mapping[str, Any]  # decoded JSON, or a gRPC message in the same form


class SeldonModel(ABC):
    """A predictor with its metrics and request log; a repository adds the methods of Seldon.

    Attributes:
        contract: of the model that is served.
        metrics: those of the server, which Prometheus reads.
    """

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        """Serve this predictor, and count its requests."""
        self.contract: Contract = predictor.contract
        self.metrics = metrics
        self._predictor = predictor
        self._log: RequestLog | None = None

    def keep_requests(self, log: RequestLog) -> None:
        """Write every answered request into this log."""
        self._log = log

    def answer(self, request: Request) -> Prediction:
        """Predict the rows of a request, and count them; the model is called once at most.

        Raises:
            Refusal: the request is at fault (4xx), or the model failed on a valid one (500).
        """
        try:
            prediction = self._predictor.predict(request.names, request.rows)
        except Refusal as refusal:
            self.metrics.count_refused_value(refusal)
            raise
        except Exception as error:
            logger.exception("the model failed on the valid request %r", request.puid)
            raise Refusal(
                500, "MODEL_FAILED", f"the model failed; see the server's log for {request.puid!r}"
            ) from error
        self.metrics.count_rows(prediction)
        return prediction

    def log_request(self, request: Request, response: Message) -> None:
        """Write an answered request into the request log, where there is one."""
        if self._log:
            self._log.write(payload.log_entry(request, response, self.contract))

    @abstractmethod
    def predict_raw(self, message: Message, puid: str = "") -> dict[str, object]:
        """Answer one prediction request.

        Args:
            message: a SeldonMessage as a dict.
            puid: the request's id where the message has none.

        Returns:
            The response, a SeldonMessage as a dict.

        Raises:
            Refusal: the request is at fault (4xx), or the model failed on a valid one (500).
        """

    @abstractmethod
    def send_feedback(self, message: Message) -> dict[str, object]:
        """Count the labels or the reward of a prediction.

        Args:
            message: a Feedback as a dict.

        Returns:
            The response, a SeldonMessage as a dict; its tag `feedback` says whether it was counted.

        Raises:
            Refusal: 400, the message is no Feedback.
        """

    def health_status(self) -> dict[str, object]:
        """Which model is served. It was checked before the server listened: nothing runs here."""
        contract = self.contract
        return {
            "jsonData": {"model_name": contract.name, "model_version": contract.version},
            "meta": {},
        }

    def init_metadata(self) -> dict[str, object]:
        """The contract in the form of a SeldonModelMetadata.

        `inputs` holds one `feature` a column and `outputs` one `target`, each with everything that
        a form on a page needs in `schema`, besides the plain names and shape that Seldon's own
        tools expect. The values of `custom` are text; its `contract` is the whole one, as JSON.
        """
        contract = self.contract
        return {
            "name": contract.name,
            "versions": [contract.version],
            "platform": contract.served.form,
            "inputs": [
                _names([column.name for column in contract.features]),
                *({"messagetype": "feature", "schema": _schema(c)} for c in contract.features),
            ],
            "outputs": [
                _names(contract.output_names),
                {
                    "messagetype": "target",
                    "schema": {**_schema(contract.target), "classes": contract.classes},
                },
            ],
            "custom": {
                "problem_type": contract.problem_type,
                "description": contract.description,
                "owner": contract.owner,
                "contract": contract.model_dump_json(),
            },
        }


def _names(names: list[str]) -> dict[str, object]:
    return {"messagetype": "ndarray", "schema": {"names": names, "shape": [len(names)]}}


def _schema(column: Column) -> dict[str, object]:
    return column.model_dump(mode="json", exclude={"role", "reference"})
