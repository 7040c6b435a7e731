"""`python -m r1core` is the `r1core` command."""

from r1core.cli import main

main()
