"""Working on prompts: where each is used, what another wording changes on a task, and searching for a better one."""
