"""Evaluate a finished run on a split or on another corpus: `python evaluate.py run=RUN_DIR`. See README.md."""

from emotion.hydra_cli.evaluate import main

if __name__ == "__main__":
    main()
