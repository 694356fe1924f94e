"""Start the model server: our applications, at our addresses, in our processes.

seldon-core's own launcher listens on all interfaces, before the model is loaded, in up to seven
processes that do not end together. Here the model is loaded and proven first, then the ports are
opened, then the workers are forked.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from .. import custom_metrics
from ..contract import Contract
from ..errors import UserError
from ..settings import Settings
from . import processes, rest
from .metrics import Metrics
from .predictor import Predictor
from .request_log import RequestLog
from .seldon import SeldonModel

logger = logging.getLogger(__name__)


def run(settings: Settings) -> None:
    """Serve the model of `settings.model_dir` until SIGTERM or Ctrl-C; ends by SystemExit.

    Raises:
        UserError: the folder holds no model that may be served, or a port cannot be opened.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")

    predictor = Predictor.load(settings.model_dir, settings.max_rows)
    metrics = _metrics(predictor.contract, settings.serve_workers)
    model = SeldonModel(predictor, metrics)
    work = _runner(settings.serve_threads)
    http = rest.App(model, metrics, work, settings)
    ports = [settings.serve_port, settings.metrics_port]
    listeners = [_listen(settings.serve_host, port) for port in ports]
    start_rpc = None
    if settings.serve_grpc:
        logging.getLogger("seldon_core").setLevel(logging.WARNING)  # it misses TensorFlow, aloud
        from . import rpc  # only here: it takes as long to import as all the rest

        address = _address(settings.serve_host, settings.grpc_port)
        _reserve(settings.serve_host, settings.grpc_port)
        start_rpc = partial(rpc.serve, model, metrics, work, address, settings)

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

    def enter(place: int) -> None:
        metrics.enter(place)
        if settings.request_log:
            model.keep_requests(RequestLog(settings.request_log, place))

    service = processes.Service(http, start_rpc, predictor.check, enter)
    processes.run(service, listeners, settings.serve_workers)


def _metrics(contract: Contract, workers: int) -> Metrics:
    """The server's metrics and the team's."""
    metrics = Metrics(contract, workers)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    metrics.add_custom(custom_metrics.observe, registry)
    return metrics


def _runner(threads: int) -> Callable:
    """Where predictions run: in the event loop, or beside it in threads.

    Handing a small request to a thread costs up to as much again as the request, and Python runs
    one thread at a time. Threads pay where the model takes long without holding Python's lock, and
    they let a small request pass a large one.
    """
    if threads == 1:

        async def here(work: Callable, *arguments: object) -> object:
            return work(*arguments)

        return here

    pool = ThreadPoolExecutor(threads)  # its threads start with their work, so in the workers

    async def beside(work: Callable, *arguments: object) -> object:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)

    return beside


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=_family(host), backlog=processes.BACKLOG)
    except OSError as error:
        reason = error.strerror.partition(" (while")[0]
        raise UserError(
            f"cannot listen on {_address(host, port)}: {reason}; "
            "SERVE_HOST, SERVE_PORT, GRPC_PORT and METRICS_PORT choose the addresses"
        ) from error


def _reserve(host: str, port: int) -> None:
    """Hold a port for good on which each worker listens by itself: gRPC cannot be given a socket.

    The kernel lets them share a port with whoever asks for it as they do: taken once for us alone,
    it is known to be nobody else's.
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
