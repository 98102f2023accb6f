"""Train a model: `python train.py data=ravdess data.root=DIR protocol=luna5 seed=1`. See README.md."""

from emotion.commands import train

if __name__ == "__main__":
    train()
