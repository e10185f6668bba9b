"""A user who presses Ctrl-C."""


class StoppedError(Exception):
    pass


def interrupt_after(steps: int, stage: str = "neighbors"):
    """A progress bar that is interrupted before the given step of a stage."""

    def progress(iterable, *, total, desc):
        for number, item in enumerate(iterable):
            if number == steps and desc == stage:
                raise StoppedError
            yield item

    return progress
