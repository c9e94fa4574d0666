"""Looking into runs: live, afterwards, forked, compared, and exported. A library; the page is built on it.

Everything works on an open store of runs (`modular_pluralism.runs.opening.open_run_store`), beside what
`pluralism ask --thread` keeps there. What `models` is given to puts LangChain chat models in the place of the pool's.

- `live.start_run(store, live.RunRequest(...))` and `fork.start_fork(store, fork.ForkRequest(...))` give a `LiveRun`,
  which has `events()`, `wait()` and `stop()`; `events` lists what there is to be told.
- `history.list_runs(store)` and `history.read_run(store, run)`, with its supersteps, are what was kept;
  `calls.read_calls(store, run)` are the model calls, with prompts, settings, output and probabilities.
- `compare.compare_runs(one, other)` takes two of `read_run`'s.
- `attribution.attribute_answer(state)`, `distributions.describe_distributions(state)` and
  `distributions.read_otherwise(run, scoring)` look at a result.
- `export.run_as_json(store, run)`, `export.run_as_html(store, run)` and `snippet.run_as_python(run, setup)` take a run
  away.
"""
