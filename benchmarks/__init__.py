"""Speed and memory against peers, paired in one run; one command each."""
