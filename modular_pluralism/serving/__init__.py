"""OpenAI's API over a pool: its communities, its base LLM, and the modes as models."""
