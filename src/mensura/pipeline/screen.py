"""Work as it goes, on the terminal: a bar while a step runs, a line when it is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from mensura.methods import Monitor


class Screen:
    """A watcher that draws: a bar while a step runs, a line when it is done; first of all the run's name."""

    def __init__(self, console: Console, progress: Progress, name: str) -> None:
        self.console, self.progress, self.name = console, progress, name
        self.task: TaskID | None = None
        self.detail = ""

    def begin(self, step: str, method: str) -> None:
        """A spinner for the step, until its first iteration tells how many there may be."""
        self.detail = ""
        self.task = self.progress.add_task(f"{step} [dim]{escape(method)}", total=None, detail="")

    def iteration(self, iteration: int, max_iter: int, change: float) -> None:
        """The bar, and the solver's relative change."""
        self.detail = f"{iteration} {'iterations' if change else 'of ' + str(max_iter)}"
        if self.task is not None:
            moving = f", change {change:.1e}" if change else ""
            detail = f"{iteration}/{max_iter}{moving}"
            self.progress.update(self.task, completed=iteration, total=max_iter, detail=detail)

    def end(self, step: str, seconds: float, reused: bool) -> None:
        """A line for the log, instead of the bar."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        if self.name:
            self.console.print(f"[bold]{escape(self.name)}[/]")
            self.name = ""
        took = "[dim]unchanged, reused" if reused else f"{seconds:6.1f} s  [dim]{self.detail}"
        self.console.print(f"  {step:<18} {took}", highlight=False)
        self.detail = ""


def drawing(console: Console) -> Progress:
    """Bars that vanish when they are done; none where nobody looks."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    silent = not console.is_terminal
    return Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=silent)


@contextmanager
def bar(console: Console, step: str, method: str) -> Iterator[Monitor]:
    """One bar, and the monitor that moves it."""
    with drawing(console) as progress:
        screen = Screen(console, progress, "")
        screen.begin(step, method)
        yield screen.iteration
