"""The two ways in which a run ends before it is done: the input is wrong, or a rank failed."""


class InputError(ValueError):
    """What the user gave is wrong. Its text is one line: where, what was received, what is allowed, what to do."""


class RankError(RuntimeError):
    """An error of one rank, as every rank sees it.

    `is_input` tells that the cause was an `InputError` there, so that the exit status is 2 and not 1.
    """

    def __init__(self, rank: int, host: str, cause: str, is_input: bool):
        super().__init__(cause)
        self.rank = rank
        self.host = host
        self.cause = cause
        self.is_input = is_input


FULL = "No space left on device"  # how the system says it, and all libraries after it


def is_users(error: BaseException) -> bool:
    """Tell whether the user can mend what led to `error`: wrong input, or a disk that is full."""
    return isinstance(error, InputError) or getattr(error, "is_input", False) or FULL in str(error)


def one_line(error: BaseException) -> str:
    """Return what to tell the user of `error`: its text for wrong input, its type and text for the rest."""
    text = " ".join(str(error).split())
    return text if isinstance(error, InputError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
