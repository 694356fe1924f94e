"""Seldon's side of the model: its messages in, its messages out, whatever carries them.

`rest.py` brings the messages over HTTP, `rpc.py` over gRPC. Another protocol is another module like
this one: the predictor knows of neither.
"""

import logging
from collections.abc import Mapping

from ..contract import Column
from . import payload
from .metrics import Metrics
from .predictor import Predictor, Refusal
from .request_log import RequestLog

logger = logging.getLogger(__name__)

Message = Mapping[str, object]


class SeldonModel:
    """A predictor behind the methods that Seldon asks of a model, named as Seldon names them."""

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        """Serve this predictor, and count what it does."""
        self.contract = predictor.contract
        self._predictor = predictor
        self._metrics = metrics
        self._log: RequestLog | None = None

    def keep_requests(self, log: RequestLog) -> None:
        """Write every answered request into this log."""
        self._log = log

    def predict_raw(self, message: Message, puid: str = "") -> dict[str, object]:
        """Answer one prediction request; the model is called once at most.

        Args:
            message: a SeldonMessage as a dict.
            puid: the request's id where the message has none.

        Raises:
            Refusal: the request is at fault (4xx), or the model failed on a valid one (500).
        """
        request = payload.decode(message, puid)
        try:
            prediction = self._predictor.predict(request.names, request.rows)
        except Refusal as refusal:
            self._metrics.count_refused_value(refusal)
            raise
        except Exception as error:
            logger.exception("the model failed on the valid request %r", request.puid)
            raise Refusal(
                500, "MODEL_FAILED", f"the model failed; see the server's log for {request.puid!r}"
            ) from error
        self._metrics.count_rows(prediction)
        response = payload.encode(prediction, self.contract, request)
        if self._log:
            self._log.write(payload.log_entry(request, response, self.contract))
        return response

    def send_feedback(self, message: Message) -> dict[str, object]:
        """Count what became of a prediction; the answer's tag says whether it could be counted.

        Args:
            message: a Feedback as a dict.

        Raises:
            Refusal: 400, it is none.
        """
        feedback = payload.decode_feedback(message, self.contract)
        outcome = self._metrics.count_feedback(feedback)
        return {"meta": {"puid": feedback.puid, "tags": {"feedback": outcome}}}

    def health_status(self) -> dict[str, object]:
        """Which model is served. It was proven before the server listened: nothing runs here."""
        contract = self.contract
        return {
            "jsonData": {"model_name": contract.name, "model_version": contract.version},
            "meta": {},
        }

    def init_metadata(self) -> dict[str, object]:
        """The contract, as far as a client needs it, in the form of a SeldonModelMetadata.

        `inputs` holds one `feature` a column and `outputs` one `target`, each with everything a
        form needs in `schema`, besides the plain names and shape that Seldon's own tools expect.
        `custom` is text throughout; its `contract` is the whole of it, as JSON.
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
