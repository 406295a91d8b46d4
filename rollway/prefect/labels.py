"""Labels of a flow run: the facts that alert templates can read even when the run's process is dead."""

ENDPOINT = "rollway.endpoint"
WORKSPACE = "rollway.workspace"
STUDIO = "rollway.studio"  # the endpoint's page there
MODEL = "rollway.model"
TASK = "rollway.task"  # the task that started last
FAILED_TASK = "rollway.failed-task"
CAUSE = "rollway.cause"
NEXT = "rollway.next"  # what to do about the failure
TRAFFIC = "rollway.traffic"
NOT_RESTORED = "not restored, look at once"  # as traffic: the abort failed, and cause and next are those of that
HELD = "rollway.held"  # why people were told last that it waits for them; it outlives an attempt
ORDER = "rollway.order"  # of a person, written by another process; it outlives an attempt
STARTED = "rollway.started"  # when the run started to work on the endpoint; a woken attempt reads it

LABELS = (ENDPOINT, WORKSPACE, STUDIO, MODEL, TASK, FAILED_TASK, CAUSE, NEXT, TRAFFIC)
