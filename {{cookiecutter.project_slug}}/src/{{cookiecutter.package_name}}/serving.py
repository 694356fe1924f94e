"""The model server: the methods that Seldon calls, around the predictor of the library.

`make serve` runs it. The library brings messages to these methods over HTTP and gRPC, and has held
the model against its golden rows before. Neither pandas nor MLflow is there: import them nowhere
that this module reaches.
"""

import time

from modelloop.serving import Message, SeldonModel, payload


class Model(SeldonModel):
    """The model as Seldon knows it.

    `self.contract` says what the model takes and answers, `self.metrics` is what Prometheus reads.
    `health_status` and `init_metadata`, which tell clients of the contract, are inherited.
    """

    def predict_raw(self, message: Message, puid: str = "") -> dict[str, object]:
        """Answer one prediction request; the model is called once at most.

        Args:
            message: a SeldonMessage as a dict.
            puid: the request's id where the message has none.

        Raises:
            Refusal: the request is at fault (4xx), or the model failed on a valid one (500).
        """
        request = payload.decode(message, puid)
        prediction = self.answer(request)  # checked against the contract, and counted
        tags = {
            "model_name": self.contract.name,
            "model_version": self.contract.version,
            "answered_at": round(time.time(), 3),  # with the version, what feedback is joined by
        }
        if prediction.labels is not None:  # of a classification
            tags["prediction"] = prediction.labels
        response = payload.encode(prediction, self.contract, request, tags)
        self.log_request(request, response)
        return response

    def send_feedback(self, message: Message) -> dict[str, object]:
        """Count what became of a prediction; the answer's tag says whether it could be counted.

        Args:
            message: a Feedback as a dict.

        Raises:
            Refusal: 400, it is none.
        """
        feedback = payload.decode_feedback(message, self.contract)
        outcome = self.metrics.count_feedback(feedback)
        return {"meta": {"puid": feedback.puid, "tags": {"feedback": outcome}}}
