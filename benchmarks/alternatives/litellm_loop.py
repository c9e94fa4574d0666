"""The council as a loop over LiteLLM."""

from __future__ import annotations

import asyncio
from typing import Any

import litellm  # type: ignore[import-not-found]

from benchmarks.alternatives.council import CHECK, MERGE, PERSONAS, Outcome


async def ask(question: str, models: dict[str, str], base: str, **settings: Any) -> Outcome:
    async def said(model: str, *messages: dict[str, str]) -> str:
        reply = await litellm.acompletion(model=model, messages=list(messages), num_retries=2, **settings)
        return str(reply.choices[0].message.content)

    async def comment(name: str) -> str:
        system, user = {"role": "system", "content": PERSONAS[name]}, {"role": "user", "content": question}
        first = await said(models[name], system, user)
        return await said(models[name], {"role": "user", "content": CHECK.format(comment=first)})

    replies = await asyncio.gather(*map(comment, PERSONAS), return_exceptions=True)
    comments = {name: reply for name, reply in zip(PERSONAS, replies, strict=True) if isinstance(reply, str)}
    merge = MERGE.format(question=question, comments="\n".join(f"- {each}" for each in comments.values()))
    answer = await said(base, {"role": "user", "content": merge})
    return Outcome(answer=answer, comments=comments, missing=[name for name in PERSONAS if name not in comments])
