"""What helper processes of `emotion train` run; see `emotion.commands.run`."""

from emotion.commands import train

if __name__ == "__main__":
    train()
