"""Start the model server.

seldon-core's own launcher listens on all interfaces, before the model is loaded, in up to seven
processes that do not end together. Here the model is loaded and checked first, then the ports are
opened, then the workers are forked.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from modelloop.contract.contract import Contract
from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.serving import processes, rest
from modelloop.serving.metrics import Metrics
from modelloop.serving.predictor import Predictor
from modelloop.serving.request_log import RequestLog
from modelloop.serving.seldon import SeldonModel

logger = logging.getLogger(__name__)


def run(project: Project) -> None:
    """Serve the model in MODEL_DIR until SIGTERM or Ctrl-C; ends by SystemExit.

    Raises:
        UserError: the folder holds no model that may be served, or a port cannot be opened.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    settings = project.settings
    predictor = Predictor.load(project, settings.model_dir, settings.max_rows)
    metrics = _metrics(project, predictor.contract, settings.serve_workers)
    model: SeldonModel = project.serving.Model(predictor, metrics)
    run_request = _runner(settings.serve_threads)
    http = rest.App(model, metrics, run_request, settings)
    ports = [settings.serve_port, settings.metrics_port]
    listeners = [_listen(settings.serve_host, port) for port in ports]
    start_rpc = None
    if settings.serve_grpc:
        # It says at length that it does without TensorFlow.
        logging.getLogger("seldon_core").setLevel(logging.WARNING)
        from modelloop.serving import rpc

        address = _address(settings.serve_host, settings.grpc_port)
        _reserve(settings.serve_host, settings.grpc_port)
        start_rpc = partial(rpc.serve, model, metrics, run_request, address, settings)

    contract = predictor.contract
    urls = [f"http://{_address(settings.serve_host, port)}" for port in ports]
    logger.info(
        "serving %s version %s (%s) on %s%s, metrics on %s/metrics",
        contract.name,
        contract.version or "none",
        contract.served.form,
        urls[0],
        f", gRPC on {address}" if settings.serve_grpc else "",
        urls[1],
    )

    def enter(worker: int) -> None:
        metrics.enter(worker)
        if settings.request_log:
            model.keep_requests(RequestLog(settings.request_log, worker))

    service = processes.Service(http, start_rpc, predictor.check, enter)
    processes.run(service, listeners, settings.serve_workers)


def _metrics(project: Project, contract: Contract, workers: int) -> Metrics:
    """The server's metrics and the team's."""
    metrics = Metrics(contract, workers)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    metrics.add_custom(project.metrics.observe, registry)
    return metrics


def _runner(threads: int) -> rest.Run:
    """A function that runs predictions: in the event loop, or in threads beside it.

    To hand a small request to a thread costs up to as much as the request, and Python runs one
    thread at a time. Threads pay off where the model computes long without Python's lock, and they
    let a small request pass a large one.
    """
    if threads == 1:

        async def in_loop(work: Callable[..., Any], *arguments: object) -> Any:
            return work(*arguments)

        return in_loop

    pool = ThreadPoolExecutor(threads)  # starts a thread when there is work, so in the workers

    async def in_thread(work: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    return in_thread


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=processes.BACKLOG)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise UserError(
            f"cannot listen on {_address(host, port)}: {reason}; "
            "SERVE_HOST, SERVE_PORT, GRPC_PORT and METRICS_PORT choose the addresses"
        ) from error


def _reserve(host: str, port: int) -> None:
    """Hold a port on which each worker listens by itself: gRPC does not take an open socket.

    With SO_REUSEPORT the kernel would let them share the port with a foreign server, so it is
    opened without that option first, which fails while anything else listens.
    """
    _listen(host, port).close()
    holder = socket.socket(_family(host))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((host, port))
    holder.detach()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
