"""The graphs as assistants of a LangGraph server, as `langgraph.json` lists them."""
