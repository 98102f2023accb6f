"""Train a model: `python train.py data=ravdess data.root=DIR protocol=luna5 seed=1`. See README.md."""

from emotion.hydra_cli.train import main

if __name__ == "__main__":
    main()
