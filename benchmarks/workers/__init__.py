"""What runs in a process of its own: peers, in their environment, and measurements of memory, which want a fresh one.

Nothing but `lora_sequences` and `many_questions` may import anything of this project: peers run in another environment.
"""
