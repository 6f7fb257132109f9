"""The run launcher of the service: one that notices when a run is gone."""

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

CHECK_SECONDS = 10
"""How long the code server may take to answer."""


class MonitoredRunLauncher(DefaultRunLauncher):
    """Starts runs in the code server, and asks it whether they are still there.

    Dagster's own launcher starts them in the same way, but can't be asked: a run whose server was
    killed would count as running until its time is up. Server and runs share a container here, so
    a run that the server does not know ended with the server that started it.

    Dagster has no public names for what a launcher answers; integrations import them as this does.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run still works; only a server that answers can say that it does not."""
        if GRPC_INFO_TAG not in run.tags:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "it was started by hand, not in the code server"
            )
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:
            return CheckRunHealthResult(WorkerStatus.SUCCESS, "it has ended")
        try:
            answer = deserialize_value(
                client.can_cancel_execution(
                    CanCancelExecutionRequest(run_id=run.run_id), timeout=CHECK_SECONDS
                ),
                CanCancelExecutionResult,
            )
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "the code server does not answer; it is asked again"
            )
        if answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "the code server was started anew and does not know this run"
        )
