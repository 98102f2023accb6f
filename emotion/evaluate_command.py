"""What helper processes of `emotion evaluate` run; see `emotion.commands.run`."""

from emotion.commands import evaluate

if __name__ == "__main__":
    evaluate()
