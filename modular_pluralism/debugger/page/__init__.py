"""The page of the debugger: what is shown, and what a click does. What it shows is worked out in the packages above."""
