"""The one tree of errors a user may see. Each message says what was wrong, the value, and what to do."""


class WorkbenchError(Exception):
    """Something the user can mend. Pages show its text; the command line prints it and exits with 2."""


class SpecError(WorkbenchError):
    """A run specification that cannot be carried out."""


class DataError(WorkbenchError):
    """A prompt file, a row of it, or a selection that leaves nothing to train on."""


class ModelError(WorkbenchError):
    """A model or adapter that cannot be found, read or used."""


class RunError(WorkbenchError):
    """A run folder that is missing, unreadable or in the wrong status for what was asked."""


class WorkerError(WorkbenchError):
    """The worker cannot start, or another one already owns the runs folder."""


class ClusterError(WorkbenchError):
    """A cluster that is not described, cannot be reached, or refuses a job."""


class NoticeError(WorkbenchError):
    """A file that says who is to be told of runs, and says something wrong."""


class TrainingError(WorkbenchError):
    """Training cannot go on: a loss is not finite, memory is exhausted."""


class MemoryShortage(WorkbenchError):
    """Not even a single row fits the memory that is free."""


class TeamError(WorkbenchError):
    """One of several processes that compute together has ended, failed or hangs."""


class ComputeError(WorkbenchError):
    """A map or a measurement that cannot be made of what was captured."""


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300] + "."
