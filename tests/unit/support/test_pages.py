"""Commands and files of a page, and what a shell made of them."""

import subprocess
from pathlib import Path

import pytest

from tests.support import pages

PAGE = """\
# A page

```console
$ make up
```

## Use it

Save this as `ask.py`:

```python
print("it's")
```

- In a list:

  ```console
  $ python ask.py    # asks
  it's
  $ exit_with 3
  ```

## Elsewhere

```yaml
a: b
```
"""


@pytest.fixture(autouse=True)
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page in a folder of its own."""
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.setattr(pages, "ROOT", tmp_path)


def test_the_commands_of_a_page_and_of_a_section_are_in_their_order() -> None:
    assert pages.commands("page.md") == ["make up", "python ask.py", "exit_with 3"]
    assert pages.commands("page.md", "Use it") == ["python ask.py", "exit_with 3"]
    assert pages.answers("page.md") == [("python ask.py", "it's")]


def test_a_section_that_is_gone_fails() -> None:
    with pytest.raises(AssertionError, match=r"page\.md has no section Nowhere"):
        pages.commands("page.md", "Nowhere")


def test_the_files_to_save_have_their_name_and_text() -> None:
    assert pages.files("page.md") == {"ask.py": 'print("it\'s")\n'}


def test_one_shell_runs_all_commands_and_each_has_its_exit_code() -> None:
    typed = ["export A='it is'", "(exit 3)", 'echo "$A"']

    done = subprocess.run(["bash", "-c", pages.script(typed)], capture_output=True, text=True, check=True)

    assert pages.results(done.stdout) == [(typed[0], 0, ""), (typed[1], 3, ""), (typed[2], 0, "it is\n")]
