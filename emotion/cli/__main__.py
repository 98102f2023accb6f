"""`python -m emotion.cli`, where the command is not on the path."""

from emotion.cli import main

main()
