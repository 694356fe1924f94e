"""The model as seldon-core sees it: the methods it calls, and nothing that a model does.

There is no `load`: the predictor is loaded and proven before any of this exists. seldon-core would
take an AttributeError from `load` for "no such method" and serve without a model. And there is
`predict_raw`, not `predict`, of which it makes a second call after a TypeError.
"""

import logging
import reprlib

from google.protobuf.json_format import MessageToDict
from seldon_core.proto.prediction_pb2 import Feedback, SeldonMessage

from ..contract import Column, ContractError
from . import payload
from .predictor import Predictor, Refusal

logger = logging.getLogger(__name__)


class SeldonModel:
    """Adapts a predictor to seldon-core 1.17."""

    def __init__(self, predictor: Predictor) -> None:
        """Serve this predictor."""
        self._predictor = predictor

    def predict_raw(self, message: object) -> dict[str, object]:
        """Answer one prediction request, a decoded JSON body.

        Raises:
            Refusal: the request is at fault (4xx), or the model failed on a valid one (500).
        """
        request = payload.decode(message)
        try:
            prediction = self._predictor.predict(request.names, request.rows)
        except Refusal:
            raise
        except Exception as error:
            logger.exception("the model failed on the valid request %r", request.puid)
            raise Refusal(
                500, "MODEL_FAILED", f"the model failed; see the server's log for {request.puid}"
            ) from error
        return payload.encode(prediction, self._predictor.contract, request.puid)

    def health_status(self) -> dict[str, str]:
        """Whether this worker still answers the golden rows right.

        Raises:
            Refusal: 503, it does not.
        """
        try:
            self._predictor.check()
        except ContractError as error:
            raise Refusal(503, "NOT_READY", str(error)) from error
        contract = self._predictor.contract
        return {"model_name": contract.name, "model_version": contract.version}

    def init_metadata(self) -> dict[str, object]:
        """The contract, as far as a client needs it, in the only form that seldon-core lets pass.

        `inputs` holds one `feature` a column and `outputs` one `target`, each with everything a
        form needs in `schema`, besides the plain names and shape that Seldon's own tools expect.
        """
        contract = self._predictor.contract
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
            },
        }

    def send_feedback_raw(self, feedback: Feedback) -> SeldonMessage:
        """Log what became of a prediction."""
        puid = feedback.response.meta.puid
        truth = MessageToDict(feedback.truth)
        logger.info(
            "feedback: puid %r, reward %g, truth %s", puid, feedback.reward, reprlib.repr(truth)
        )
        answer = SeldonMessage()
        answer.meta.puid = puid
        return answer


def _names(names: list[str]) -> dict[str, object]:
    return {"messagetype": "ndarray", "schema": {"names": names, "shape": [len(names)]}}


def _schema(column: Column) -> dict[str, object]:
    return column.model_dump(mode="json", exclude={"role", "reference"})
