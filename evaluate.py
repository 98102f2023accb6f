"""Evaluate a run on one of its splits, or on another corpus: `python evaluate.py run=RUN_DIR`. See README.md."""

from emotion.commands import evaluate

if __name__ == "__main__":
    evaluate()
