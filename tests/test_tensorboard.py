"""Tests of the TensorBoard page of a run in a browser."""

import subprocess
import sys
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
from playwright.sync_api import expect

from emotion.pipelines.train import train

TIMEOUT_MS = 90_000


@contextmanager
def tensorboard(folder):
    """Serve a folder with TensorBoard, and yield the address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        line = next((line for line in server.stderr if "http://localhost" in line), "")
        yield line.split(" at ")[1].split()[0]
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def page(compose, browser, tmp_path):
    overrides = ["trainer.max_epochs=2", "optimizer.weight_decay=0.02"]
    train(compose(*overrides), tmp_path / "outputs" / "run", overrides)  # `train_in_process` draws nothing
    with tensorboard(tmp_path / "outputs") as address:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(TIMEOUT_MS)
        page.address = address
        yield page
        page.close()


def count_colors(page, tmp_path, name):
    """Return the number of colors of a screenshot; a blank or broken page has few."""
    page.screenshot(path=tmp_path / f"{name}.png")
    image = cv2.imread(str(tmp_path / f"{name}.png"))
    return len(np.unique(image.reshape(-1, 3) // 16, axis=0))


@pytest.mark.slow
def test_curves_figures_hyperparameters_and_embeddings_are_visible(page, tmp_path):
    page.goto(f"{page.address}#timeseries")
    for curve in ("loss", "uar"):  # visible without scrolling
        expect(page.get_by_text(f"dev/{curve}", exact=True)).to_be_in_viewport(timeout=TIMEOUT_MS)
    assert count_colors(page, tmp_path, "timeseries") > 30

    page.goto(f"{page.address}#custom_scalars")
    page.reload()
    expect(page.get_by_text("train and dev").first).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.get_by_text("UAR", exact=True).first).to_be_visible(timeout=TIMEOUT_MS)
    page.wait_for_timeout(2_000)  # the curves are drawn afterwards
    assert count_colors(page, tmp_path, "custom_scalars") > 30

    page.goto(f"{page.address}#images")
    page.reload()
    image = page.locator("tf-image-loader img").first
    expect(image).to_be_visible(timeout=TIMEOUT_MS)
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    expect(page.get_by_text("figures/confusion_matrix_test").first).to_be_visible()

    page.goto(f"{page.address}#hparams")
    page.reload()
    expect(page.get_by_text("final/dev/uar").first).to_be_attached(timeout=TIMEOUT_MS)
    expect(page.get_by_text("spec_augment").first).to_be_attached(timeout=TIMEOUT_MS)
    expect(page.get_by_text("optimizer.weight_decay").first).to_be_attached(
        timeout=TIMEOUT_MS
    )  # a key of the overrides

    page.goto(f"{page.address}#projector")
    page.reload()
    projector = page.frame_locator("iframe").frame_locator("iframe")
    expect(projector.get_by_text("64", exact=True)).to_be_visible(timeout=TIMEOUT_MS)
    expect(projector.get_by_text("emotion").first).to_be_attached()
    assert count_colors(page, tmp_path, "projector") > 50  # its points are images
