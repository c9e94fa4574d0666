"""Looking into runs: live, afterwards, forked, compared, and exported. A library; the page is built on it.

Everything works on an open store of runs (`modular_pluralism.runs.opening.open_run_store`), beside what
`pluralism ask --thread` keeps there:

- `live.start_run(store, RunRequest) -> LiveRun`, `LiveRun.events()`, `LiveRun.stop()`
- `history.list_runs(store)`, `history.read_run(store, run)`, `history.read_steps(store, run)`, `calls.read_calls`
- `fork.start_fork(store, ForkRequest) -> LiveRun`
- `compare.compare_runs(one, other)`, `attribution.attribute_answer`, `distributions.describe_distributions`
- `export.run_as_json`, `export.run_as_html`, `snippet.run_as_python`
"""
