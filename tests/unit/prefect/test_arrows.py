"""The arrows of a run's graph."""

from uuid import UUID, uuid4

from rollway.prefect.arrows import Arrows


class Run:
    """A run that notes the arrows to each task."""

    def __init__(self) -> None:
        self.arrows, self.names, self.found = Arrows(), dict[UUID, str](), dict[str, str]()

    def start(self, name: str) -> UUID:
        task, sources = uuid4(), self.arrows.sources
        self.arrows.start(task, sources)
        self.names[task] = name
        self.found[name] = "".join(sorted(self.names[one] for one in sources))
        return task

    def carry_out(self, *names: str) -> None:
        """Start tasks side by side and end them in the same order."""
        for task in [self.start(name) for name in names]:
            self.arrows.end(task)


def test_tasks_one_after_the_other_are_a_chain() -> None:
    run = Run()

    for name in "abc":
        run.carry_out(name)

    assert run.found == {"a": "", "b": "a", "c": "b"}


def test_tasks_side_by_side_come_after_the_same_task_and_before_the_same() -> None:
    run = Run()

    run.carry_out("a")
    run.carry_out("b", "c")
    run.carry_out("d")
    run.carry_out("e")

    assert run.found == {"a": "", "b": "a", "c": "a", "d": "bc", "e": "d"}


def test_a_task_comes_after_what_has_ended_and_not_after_what_still_runs() -> None:
    run = Run()

    long, short = run.start("a"), run.start("b")
    run.arrows.end(short)
    run.carry_out("c")
    run.arrows.end(long)
    run.carry_out("d")

    assert run.found == {"a": "", "b": "", "c": "b", "d": "ac"}


def test_each_try_of_a_task_ends_it() -> None:
    run = Run()

    retried = run.start("a")
    for _ in range(2):
        run.arrows.end(retried)
    run.carry_out("b")

    assert run.found["b"] == "a"


def test_a_task_that_only_ends_is_followed_too() -> None:
    arrows, task = Arrows(), uuid4()

    arrows.end(task)

    assert arrows.sources == {task}
