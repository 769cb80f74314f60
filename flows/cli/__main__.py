"""`python -m flows.cli` is `spinetally`."""

from flows.cli import main

main()
